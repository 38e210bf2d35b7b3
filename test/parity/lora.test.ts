import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { RankChoice } from '../../main/contract/job.ts';
import { answerFor, chooseRanks, type Spectrum } from '../../main/lora/spectrum.ts';
import { readSpectrum } from '../../main/pipelines/spectrum-file.ts';
import { denseOf, minus, multiply, norm, run, type Dense } from '../lora/lora-files.ts';
import { goldenCases, goldenFolder, readAll } from './goldens.ts';

/** Results are stored in f32: half of its last bit for each factor's values, and some room. */
const STORED = 5e-7;

interface Expected {
  readonly modules: readonly { readonly path: string; readonly rank: number; readonly singularValues: readonly number[] }[];
  /** By rank, from 1 on. */
  readonly kept: readonly number[];
  readonly rankForShare: Readonly<Record<string, number>>;
  readonly ranksForShare: Readonly<Record<string, readonly number[]>>;
  readonly ranksForRatio: Readonly<Record<string, readonly number[]>>;
  readonly reference?: { readonly rank: number; readonly errors: Readonly<Record<string, number>> };
}

const folder = mkdtempSync(join(tmpdir(), 'i2l-lora-parity-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;
const newFile = (): string => join(folder, `${files++}.safetensors`);

const cases = goldenCases('lora').filter((name) => name !== 'pair');
const loraOf = (name: string): string => goldenFolder('lora', name, 'lora.safetensors');

function expectedOf<T>(name: string): T {
  return JSON.parse(readFileSync(goldenFolder('lora', name, 'expected.json'), 'utf8')) as T;
}

async function spectrumOf(name: string): Promise<Spectrum> {
  const output = newFile();
  await run({ kind: 'spectrum', file: loraOf(name), output });
  return readSpectrum(output);
}

async function reset(name: string, choice: RankChoice, split: 'b-heavy' | 'balanced'): Promise<string> {
  const output = newFile();
  await run({ kind: 'reset-rank', file: loraOf(name), choice, split, output, dtype: 'f32', keyForm: 'comfyui' });
  return output;
}

/** torch's best approximation of a rank: the first columns of U S and rows of V^T. */
function best(name: string, rank: number): Map<string, Dense> {
  const tensors = readAll(goldenFolder('lora', name, 'expected.safetensors'));
  const dense = (key: string): Dense => {
    const { shape, values } = tensors.get(key)!;
    return { rows: shape[0]!, columns: shape[1]!, values: Float64Array.from(values) };
  };
  return new Map(
    expectedOf<Expected>(name).modules.map(({ path }) => {
      const [us, vt] = [dense(`${path}.US`), dense(`${path}.VT`)];
      const kept = Math.min(rank, vt.rows);
      const columns = us.values.filter((_, i) => i % us.columns < kept);
      return [
        path,
        multiply(
          { rows: us.rows, columns: kept, values: columns },
          { ...vt, rows: kept, values: vt.values.slice(0, kept * vt.columns) },
        ),
      ];
    }),
  );
}

describe.each(cases)('%s', (name) => {
  const expected = expectedOf<Expected>(name);
  const most = Math.max(...expected.modules.map(({ rank }) => rank));

  test('singular values', async () => {
    const spectrum = await spectrumOf(name);
    expect(spectrum.map(({ path, rank }) => ({ path, rank }))).toEqual(expected.modules.map(({ path, rank }) => ({ path, rank })));
    spectrum.forEach(({ singularValues }, i) => {
      const wanted = expected.modules[i]!.singularValues;
      const bar = 1e-7 * wanted[0]!;
      wanted.forEach((value, j) => expect(Math.abs((singularValues[j] ?? 0) - value), `module ${i}, value ${j}`).toBeLessThan(bar));
      expect(singularValues.length).toBe(wanted.filter((value) => value > bar).length);
    });
  });

  test('energy kept, and the ranks for a share or a ratio', async () => {
    const spectrum = await spectrumOf(name);
    const ranksOf = (choice: RankChoice): number[] => chooseRanks(spectrum, choice);
    expected.kept.forEach((kept, i) =>
      expect(answerFor(spectrum, ranksOf({ kind: 'fixed', rank: i + 1 }), 2).kept).toBeCloseTo(kept, 6),
    );
    for (const [share, rank] of Object.entries(expected.rankForShare))
      expect(ranksOf({ kind: 'energy', share: Number(share), perModule: false })[0], share).toBe(rank);
    for (const [share, ranks] of Object.entries(expected.ranksForShare))
      expect(ranksOf({ kind: 'energy', share: Number(share), perModule: true }), share).toEqual(ranks);
    for (const [ratio, ranks] of Object.entries(expected.ranksForRatio))
      expect(ranksOf({ kind: 'ratio', ratio: Number(ratio), perModule: true }), ratio).toEqual(ranks);
  });

  test.each(['b-heavy', 'balanced'] as const)('the best approximation of every kind of rank, %s', async (split) => {
    for (const rank of new Set([1, Math.ceil(most / 3), most, most + 3])) {
      const got = denseOf(await reset(name, { kind: 'fixed', rank }, split));
      const whole = best(name, most);
      for (const [path, wanted] of best(name, rank))
        expect(norm(minus(got.get(path)!, wanted)), `${path} at ${rank}`).toBeLessThan(STORED * norm(whole.get(path)!));
    }
  });

  test.runIf(expected.reference)("never worse than the reference's reset_rank", async () => {
    const { rank, errors } = expected.reference!;
    const got = denseOf(await reset(name, { kind: 'fixed', rank }, 'b-heavy'));
    for (const [path, dense] of best(name, most))
      expect(norm(minus(got.get(path)!, dense)) / norm(dense), path).toBeLessThan(errors[path]! + STORED);
  });
});

test('the mean of the columns is not lost, as it is in the reference', async () => {
  const { rank, errors } = expectedOf<Expected>('bf16-mean-heavy').reference!;
  expect(rank).toBe(4); // Of a module that has no more.
  const got = denseOf(await reset('bf16-mean-heavy', { kind: 'fixed', rank }, 'b-heavy'));
  const [path, whole] = [...best('bf16-mean-heavy', 8)][1]!;
  expect(errors[path]).toBeGreaterThan(0.29);
  expect(norm(minus(got.get(path)!, whole)) / norm(whole)).toBeLessThan(STORED);
});

describe('two LoRAs of unlike ranks, types and key forms', () => {
  interface Pair {
    readonly strengths: readonly [number, number];
    readonly comparison: readonly { readonly module: string; readonly relativeError: number; readonly cosine: number }[];
  }
  const { strengths, comparison } = expectedOf<Pair>('pair');
  const [one, other] = ['one', 'other'].map((name) => goldenFolder('lora', 'pair', `${name}.safetensors`)) as [string, string];

  test('merge is their weighted sum', async () => {
    const output = newFile();
    const inputs = [one, other].map((file, i) => ({ file, strength: strengths[i]! }));
    await run({ kind: 'merge', inputs, output, dtype: 'f32', keyForm: 'plain' });
    const merged = denseOf(output);
    const wanted = readAll(goldenFolder('lora', 'pair', 'expected.safetensors'));
    expect([...merged.keys()].sort()).toEqual([...wanted.keys()].sort());
    for (const [path, { shape, values }] of wanted) {
      const dense = { rows: shape[0]!, columns: shape[1]!, values: Float64Array.from(values) };
      expect(norm(minus(merged.get(path)!, dense)) / norm(dense), path).toBeLessThan(STORED);
    }
  });

  test('diff gives their relative error and cosine', async () => {
    const result = await run({ kind: 'diff', a: one, b: other });
    expect(result.comparison).toEqual(
      comparison.map(({ module, relativeError, cosine }) => ({
        module,
        relativeError: expect.closeTo(relativeError, 9) as number,
        cosine: expect.closeTo(cosine, 9) as number,
      })),
    );
  });
});
