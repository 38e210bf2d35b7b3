import { readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { EngineEvent, JobProgress, JobResult } from '../../main/contract/engine.ts';
import type { CreateJob, SetJob } from '../../main/contract/job.ts';
import type { I2lError } from '../../main/contract/errors.ts';
import { KeeperOverfull, runJob, WeightKeeper } from '../../main/pipelines/run-job.ts';
import { readSafetensors } from '../../main/weights/safetensors.ts';
import { copyModels, photographsJob } from '../parity/photographs-job.ts';
import { rejectionOf } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';

/** Several jobs of one process: encoders' weights stay in memory, and nothing else changes. */
const folder = tempFolder();
const models = copyModels(join(folder, 'models'));
const [siglip2, dinov3] = ['siglip2-g384', 'dinov3-7b'].map((id) => join(models, id, 'model.safetensors')) as [string, string];
const NONE = { siglip2: 0, dinov3: 0, style: 0 };
let count = 0;

interface Outcome {
  readonly result: JobResult;
  readonly bytes: Buffer;
  readonly progress: readonly JobProgress[];
}

function jobOf(change: Partial<CreateJob> = {}): CreateJob {
  return { ...photographsJob(join(folder, `${count++}.safetensors`), models), ...change };
}

async function create(keeper?: WeightKeeper, change: Partial<CreateJob> = {}): Promise<Outcome> {
  const events: EngineEvent[] = [];
  const { signal } = new AbortController();
  const result = await runJob({ emit: (event) => void events.push(event), signal, keeper }, jobOf(change));
  const progress = events.filter((event) => event.type === 'progress');
  return { result, bytes: readFileSync(result.output ?? ''), progress };
}

const keptOf = ({ result }: Outcome): Record<string, number> =>
  Object.fromEntries(result.networks.map(({ network, keptGroups }) => [network, keptGroups]));
const readOf = ({ result }: Outcome): Record<string, number> =>
  Object.fromEntries(result.networks.map(({ network, weightBytes }) => [network, weightBytes]));

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

const eightBit = { folder: join(folder, '8-bit') };
const copies = (): string[] => readdirSync(eightBit.folder).map((name) => join(eightBit.folder, name));

describe.each([
  { kind: 'as they are', bits: {}, files: () => [siglip2, dinov3] },
  { kind: 'in 8 bits', bits: { eightBit }, files: copies },
])('with room, weights $kind', ({ bits, files }) => {
  const keeper = new WeightKeeper();
  let fresh: Outcome;
  let first: Outcome;
  let second: Outcome;
  beforeAll(async () => {
    await create(undefined, bits); // Makes the copies, where it needs some.
    fresh = await create(undefined, bits);
    first = await create(keeper, bits);
    second = await create(keeper, bits);
  });

  test('without a keeper nothing stays', () => {
    expect(fresh.result.resident).toBeUndefined();
    expect(keptOf(fresh)).toEqual(NONE);
  });

  test('the first job leaves its encoders, the second finds them and reads none of their weights', () => {
    expect(keptOf(first)).toEqual(NONE);
    expect(first.result.resident).toEqual({ groups: keeper.size, bytes: keeper.bytes });
    const { siglip2 = 0, dinov3 = 0, style } = keptOf(second);
    expect([siglip2 > 0, dinov3 > 0, siglip2 + dinov3, style]).toEqual([true, true, keeper.size, 0]);
    expect(readOf(first)).toEqual(readOf(fresh));
    expect(readOf(second)).toEqual({ ...NONE, style: readOf(fresh)['style'] });
    expect(second.result.resident).toEqual(first.result.resident);
  });

  test('each gives the bytes of a fresh engine', () => {
    expect(first.bytes.equals(fresh.bytes)).toBe(true);
    expect(second.bytes.equals(fresh.bytes)).toBe(true);
  });

  test('one image or three: the same weights, and the bytes of a fresh engine', async () => {
    const [set] = jobOf().sets;
    const one = (): Partial<CreateJob> => ({
      ...bits,
      sets: [{ output: join(folder, `one-${count++}.safetensors`), images: set?.images.slice(0, 1) ?? [] }],
    });
    const warm = await create(keeper, one());
    expect(keptOf(warm)).toEqual(keptOf(second));
    expect(warm.bytes.equals((await create(undefined, one())).bytes)).toBe(true);
  });

  test('what is told of the work leaves out the bytes that are spared', () => {
    const told = ({ progress }: Outcome): unknown =>
      Object.fromEntries(progress[0]?.work.map(({ step, reading }) => [step, reading?.total ?? 0]) ?? []);
    expect(told(fresh)).toEqual(readOf(fresh));
    expect(told(second)).toEqual({ ...NONE, style: readOf(fresh)['style'] });
    expect(fresh.progress.at(-1)?.work.every(({ reading }) => (reading?.waited ?? 0) > 0)).toBe(true);
    expect(second.progress.at(-1)).toMatchObject({ bytesDone: readOf(fresh)['style'], bytesTotal: readOf(fresh)['style'] });
  });

  test('a file that was written again is read again', async () => {
    for (const file of files()) utimesSync(file, new Date(), new Date(2020, 1));
    const after = await create(keeper, bits);
    expect(keptOf(after)).toMatchObject(NONE);
    expect(after.bytes.equals(fresh.bytes)).toBe(true);
  });

  test('other weights in the place of a file are those that count', async () => {
    await create(keeper, bits);
    negateWeights(dinov3);
    const after = await create(keeper, bits);
    expect(keptOf(after)).toMatchObject({ ...NONE, siglip2: keptOf(second)['siglip2'] });
    expect(after.bytes.equals(fresh.bytes)).toBe(false);
    expect(after.bytes.equals((await create(undefined, bits)).bytes)).toBe(true);
  });
});

test('weights of one kind are not taken for those of the other', async () => {
  const keeper = new WeightKeeper();
  const exact = await create(keeper);
  expect(keptOf(await create(keeper, { eightBit }))).toMatchObject(NONE);
  const again = await create(keeper);
  expect(keptOf(again)['dinov3']).toBeGreaterThan(0);
  expect(again.bytes.equals(exact.bytes)).toBe(true);
});

describe('within the budget', () => {
  /** The smallest that the job can have. */
  const smallest = async (): Promise<number> => Number((await rejectionOf(create(undefined, { memory: 1 }))).fields['smallest']);

  test('a job that needs all of it leaves nothing', async () => {
    const keeper = new WeightKeeper();
    const { result } = await create(keeper, { memory: await smallest() });
    expect(result.resident).toBeUndefined();
  });

  test('one that needs what is held is refused before it has done anything', async () => {
    const keeper = new WeightKeeper();
    await create(keeper);
    const memory = await smallest();
    await expect(create(keeper, { memory })).rejects.toBeInstanceOf(KeeperOverfull);
  });

  describe('a batch whose images are known, with a set that can’t be made', () => {
    const cache = { folder: join(folder, 'embeddings'), limit: 2 ** 30 };
    const sets = (): SetJob[] => [...jobOf().sets, { output: join(folder, 'lost.safetensors'), images: [{ file: '/lost.png', weight: 1 }] }]; // prettier-ignore
    /** What is said of it. @returns its types, and what it ended with */
    async function say(keeper: WeightKeeper | undefined, memory: number): Promise<{ said: string[]; end: unknown }> {
      const said: string[] = [];
      const emit = ({ type }: EngineEvent): void => void said.push(type);
      const { signal } = new AbortController();
      const end: unknown = await runJob({ emit, signal, keeper }, jobOf({ sets: sets(), cache, memory })).catch(
        (error: unknown) => error,
      );
      return { said, end };
    }
    const filled = async (): Promise<WeightKeeper> => {
      const keeper = new WeightKeeper();
      await create(keeper);
      return keeper;
    };
    beforeAll(() => create(undefined, { cache }));

    test('one that is refused says nothing: a fresh process says it', async () => {
      const { end: short } = await say(undefined, 1);
      const memory = Number((short as I2lError).fields['smallest']);
      expect(await say(await filled(), memory)).toEqual({ said: [], end: expect.any(KeeperOverfull) as unknown });
      const { said } = await say(new WeightKeeper(), memory);
      expect(said.filter((type) => type === 'set-failed')).toHaveLength(1);
    });

    test('one that is taken says all of it, in its order', async () => {
      const { said, end } = await say(await filled(), 2 ** 30);
      expect(end).toMatchObject({ type: 'done', loras: 1, failedSets: 1 });
      expect(said).toEqual((await say(undefined, 2 ** 30)).said);
      expect(said.slice(0, 2)).toEqual(['note', 'set-failed']);
    });

    test('one that fails before its room is sure says all of it', async () => {
      const { said, end } = await say(await filled(), 1);
      expect(end).toMatchObject({ code: 'MEMORY_BUDGET' });
      expect(said).toEqual(['note', 'set-failed']);
    });
  });
});
