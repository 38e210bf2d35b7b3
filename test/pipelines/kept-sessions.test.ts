import { readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { EngineEvent, JobProgress, JobResult } from '../../main/contract/engine.ts';
import type { CreateJob } from '../../main/contract/job.ts';
import { KeeperOverfull, runJob, SessionKeeper } from '../../main/pipelines/run-job.ts';
import { readSafetensors } from '../../main/weights/safetensors.ts';
import { copyModels, photographsJob } from '../parity/photographs-job.ts';
import { rejectionOf } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';

/** Several jobs of one process: encoders in 8 bits stay laid out, and nothing else changes. */
const folder = tempFolder();
const models = copyModels(join(folder, 'models'));
const eightBit = { folder: join(folder, '8-bit') };
const [siglip2, dinov3] = ['siglip2', 'dinov3'];
let count = 0;

interface Outcome {
  readonly result: JobResult;
  readonly bytes: Buffer;
  readonly progress: readonly JobProgress[];
}

function jobOf(change: Partial<CreateJob> = {}): CreateJob {
  return { ...photographsJob(join(folder, `${count++}.safetensors`), models), eightBit, ...change };
}

async function create(
  keeper?: SessionKeeper,
  change: Partial<CreateJob> = {},
  signal = new AbortController().signal,
): Promise<Outcome> {
  const events: EngineEvent[] = [];
  const job = jobOf(change);
  const result = await runJob({ emit: (event) => void events.push(event), signal, keeper }, job);
  const progress = events.filter((event) => event.type === 'progress');
  return { result, bytes: readFileSync(result.output ?? ''), progress };
}

const keptOf = ({ result }: Outcome): Record<string, number> =>
  Object.fromEntries(result.networks.map(({ network, keptSessions }) => [network, keptSessions]));
const bytesOf = ({ result }: Outcome, network: string | undefined): number | undefined =>
  result.networks.find((one) => one.network === network)?.weightBytes;

/** The same file but for the signs of the matrices of its first layer. */
function negateWeights(file: string): void {
  const bytes = readFileSync(file);
  const { tensors } = readSafetensors(file);
  const matrices = [...tensors.values()].filter(({ name, shape }) => name.includes('layer.0.') && shape.length === 2);
  expect(matrices.length).toBeGreaterThan(0);
  for (const { offset, length, dtype } of matrices) {
    expect(dtype).toBe('BF16');
    for (let at = offset + 1; at < offset + length; at += 2) bytes[at] = (bytes[at] ?? 0) ^ 0x80;
  }
  writeFileSync(file, bytes);
}

let fresh: Outcome;
beforeAll(async () => {
  await create(); // The first makes the copies.
  fresh = await create();
});

test('without a keeper nothing is kept', () => {
  expect(fresh.result.resident).toBeUndefined();
  expect(keptOf(fresh)).toEqual({ siglip2: 0, dinov3: 0, style: 0 });
});

describe('with room', () => {
  const keeper = new SessionKeeper();
  let [first, second]: Outcome[] = [];
  beforeAll(async () => {
    first = await create(keeper);
    second = await create(keeper);
  });

  test('the first job leaves its encoders, the second finds them and reads none of their weights', () => {
    expect(keptOf(first as Outcome)).toEqual({ siglip2: 0, dinov3: 0, style: 0 });
    expect(first?.result.resident?.sessions).toBe(keeper.size);
    const kept = keptOf(second as Outcome);
    expect((kept['siglip2'] ?? 0) + (kept['dinov3'] ?? 0)).toBe(keeper.size);
    expect(kept['style']).toBe(0);
    for (const network of [siglip2, dinov3]) expect(bytesOf(second as Outcome, network)).toBeLessThan(bytesOf(fresh, network) ?? 0);
    expect(second?.result.resident).toEqual(first?.result.resident);
  });

  test('each gives the bytes of a fresh engine', () => {
    expect(first?.bytes.equals(fresh.bytes)).toBe(true);
    expect(second?.bytes.equals(fresh.bytes)).toBe(true);
  });

  test('one image or three: the same sessions, and the bytes of a fresh engine', async () => {
    const [set] = jobOf().sets;
    const one = (): Partial<CreateJob> => ({
      sets: [{ output: join(folder, `one-${count++}.safetensors`), images: set?.images.slice(0, 1) ?? [] }],
    });
    const warm = await create(keeper, one());
    expect(keptOf(warm)).toEqual(keptOf(second as Outcome));
    expect(warm.bytes.equals((await create(undefined, one())).bytes)).toBe(true);
  });

  test('the work that is told leaves out what is spared', () => {
    const total = ({ progress: [begin] }: Outcome, step: string | undefined): number =>
      begin?.work.find((work) => work.step === step)?.total ?? Number.NaN;
    for (const step of [siglip2, dinov3]) expect(total(second as Outcome, step)).toBeLessThan(total(fresh, step));
    expect(total(second as Outcome, 'style')).toBeCloseTo(total(fresh, 'style'), 9);
  });

  test('a file that was written again is read again', async () => {
    for (const name of readdirSync(eightBit.folder)) utimesSync(join(eightBit.folder, name), new Date(), new Date(2020, 1));
    const after = await create(keeper);
    expect(keptOf(after)).toEqual({ siglip2: 0, dinov3: 0, style: 0 });
    expect(after.bytes.equals(fresh.bytes)).toBe(true);
  });

  test('other weights in the place of a file are those that count', async () => {
    negateWeights(join(models, 'dinov3-7b', 'model.safetensors'));
    const after = await create(keeper);
    expect(keptOf(after)).toMatchObject({ siglip2: keptOf(second as Outcome)['siglip2'], dinov3: 0 });
    expect(after.bytes.equals(fresh.bytes)).toBe(false);
    expect(after.bytes.equals((await create()).bytes)).toBe(true);
  });
});

test('weights as they are lay nothing out: nothing is kept of them, and what is kept is not taken for them', async () => {
  const keeper = new SessionKeeper();
  const exact = await create(keeper, { eightBit: undefined });
  expect(exact.result.resident).toBeUndefined();
  await create(keeper);
  const again = await create(keeper, { eightBit: undefined });
  expect(keptOf(again)).toEqual({ siglip2: 0, dinov3: 0, style: 0 });
  expect(again.bytes.equals(exact.bytes)).toBe(true);
});

test('other threads are other sessions', async () => {
  const keeper = new SessionKeeper();
  await create(keeper);
  expect(keptOf(await create(keeper, { threads: 1 }))).toEqual({ siglip2: 0, dinov3: 0, style: 0 });
});

describe('within the budget', () => {
  /** The smallest that the job can have. */
  const smallest = async (): Promise<number> => Number((await rejectionOf(create(undefined, { memory: 1 }))).fields['smallest']);

  test('a job that needs all of it leaves nothing', async () => {
    const keeper = new SessionKeeper();
    const { result } = await create(keeper, { memory: await smallest() });
    expect(result.resident).toBeUndefined();
  });

  test('one that needs what is held is refused before it has done anything', async () => {
    const keeper = new SessionKeeper();
    await create(keeper);
    const memory = await smallest();
    await expect(create(keeper, { memory })).rejects.toBeInstanceOf(KeeperOverfull);
  });
});
