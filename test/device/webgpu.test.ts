import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { EngineEvent } from '../../main/contract/engine.ts';
import { Devices } from '../../main/runners/devices.ts';
import { readValues } from '../../main/weights/values.ts';
import { goldenCases, goldenFolder, readAll, relativeError } from '../parity/goldens.ts';
import { decodeGolden } from '../parity/run-decoder.ts';
import { encode, ENCODERS, openEncoder } from '../parity/run-encoder.ts';
import { encodeQwen, openQwen } from '../parity/run-qwen.ts';
import { whyNoWebGpu } from './webgpu.ts';

/** Every network's stages on WebGPU, against the goldens of the reference. */
const BAR = 1e-4;

let refusal: string | undefined;
const folder = mkdtempSync(join(tmpdir(), 'i2l-device-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** As a test leaves it that a driver took with its process. */
const dead = join(tmpdir(), 'i2l-check.999999999-0.i2l-part');

beforeAll(async () => {
  mkdirSync(dead, { recursive: true });
  refusal = await whyNoWebGpu();
});

describe('on WebGPU', () => {
  beforeEach((context) => {
    if (refusal !== undefined) context.skip(`no WebGPU on this machine: ${refusal}`);
  });

  test('what a test left that took its process with it is gone with the next', () => {
    expect(existsSync(dead)).toBe(false);
  });

  describe.each(ENCODERS)('%s', (network) => {
    test.each(goldenCases(network))('%s', async (name) => {
      const golden = readAll(goldenFolder(network, name, 'expected.safetensors'));
      const encoder = openEncoder(network, goldenFolder(network, name));
      const embeddings = await encode(encoder, golden.get('pixel_values')?.values ?? new Float32Array(), 2 ** 30, {
        device: 'webgpu',
      });
      expect(relativeError(embeddings, golden.get('embedding')?.values ?? [])).toBeLessThan(BAR);
    });
  });

  test.each(goldenCases('qwen25vl'))('qwen2.5-vl, %s', async (name) => {
    const golden = readAll(goldenFolder('qwen25vl', name, 'expected.safetensors'));
    const encoder = openQwen(goldenFolder('qwen25vl', name));
    const patches = Object.fromEntries(
      encoder.pictures.map((picture) => [picture.name, golden.get(`${picture.name}.patches`)?.values ?? new Float32Array()]),
    );
    const { tokens } = await encodeQwen(encoder, patches, 2 ** 30, { device: 'webgpu' });
    for (const picture of encoder.pictures) {
      expect(relativeError(tokens[picture.name] ?? [], golden.get(`${picture.name}.tokens`)?.values ?? [])).toBeLessThan(BAR);
    }
  });

  test.each(goldenCases('i2l'))('the decoder, %s', async (name) => {
    const golden = readAll(goldenFolder('i2l', name, 'expected.safetensors'));
    const lora = await decodeGolden(name, folder, 'f32', 'webgpu');
    const wanted = [...golden].filter(([key]) => key.startsWith('transformer_blocks.'));
    expect(wanted.length).toBeGreaterThan(0);
    for (const [key, { shape, values }] of wanted) {
      expect(relativeError(readValues(lora.tensor(key, shape)), values), key).toBeLessThan(BAR);
    }
  });

  test('is taken when it is asked for; by itself only if it is faster than the CPU', async () => {
    const events: EngineEvent[] = [];
    const devices = new Devices({ dataFolder: join(folder, 'home') });
    expect(await devices.choose('webgpu', 2, { emit: (event) => events.push(event) })).toBe('webgpu');
    expect(events).toEqual([]);
    const report = devices.list().find(({ device }) => device === 'webgpu');
    if (report?.outcome?.state !== 'passed') return expect.unreachable();
    expect(Object.keys(report.outcome.differences)).toEqual(['siglip2', 'dinov3', 'qwen2.5-vl', 'expert']);
    expect(Math.max(...Object.values(report.outcome.differences))).toBeLessThan(BAR);
    expect(report.isAuto).toBe(report.outcome.seconds < report.outcome.cpuSeconds);
  });
});
