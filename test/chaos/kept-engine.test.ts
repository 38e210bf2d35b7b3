import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterEach, beforeAll, expect, test } from 'vitest';
import type { EngineEvent, JobResult } from '../../main/contract/engine.ts';
import type { CreateJob, EncodeJob } from '../../main/contract/job.ts';
import { EngineKeeper } from '../../main/engine-keeper.ts';
import { runInEngine, type EngineRun } from '../../main/engine-process.ts';
import { photographs } from '../bench/photographs.ts';
import { rejectionOf } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';
import { hasEnded, partsIn, until } from './processes.ts';
import { atStep, makeSlowJob } from './slow-job.ts';

/** Engines that are kept between jobs, with real processes: whatever becomes of one, the next job is as if it had not been. */
const folder = tempFolder();
const outputs = join(folder, 'outputs');
const { job: slowJob } = makeSlowJob(folder);
const ENDS_WITHIN = 2000;
let count = 0;

function jobOf(): CreateJob {
  return { ...slowJob(join(outputs, `${count++}.safetensors`)), memory: 2 ** 30 };
}

let keeper = new EngineKeeper();
afterEach(async () => {
  await keeper.close();
  keeper = new EngineKeeper();
});

interface Ran {
  readonly pid: number;
  readonly result: JobResult;
  readonly bytes: Buffer;
}

async function create(run: Partial<EngineRun> = {}): Promise<Ran> {
  let pid = 0;
  const onStart = (id: number): void => void (pid = id);
  const job = jobOf();
  const result = await runInEngine(job, { onEvent: () => undefined, onStart, ...run }, keeper.starterFor(job));
  return { pid, result, bytes: readFileSync(result.output ?? '') };
}

const kept = ({ result }: Ran): number => result.networks.reduce((sum, { keptGroups }) => sum + keptGroups, 0);

/** What an engine makes that is not kept. */
let whole: Buffer;
beforeAll(async () => {
  mkdirSync(outputs);
  const job = jobOf();
  await runInEngine(job, { onEvent: () => undefined });
  whole = readFileSync(job.sets[0]?.output ?? '');
});

async function expectFresh(not: Ran): Promise<void> {
  const next = await create();
  expect(next.pid).not.toBe(not.pid);
  expect(kept(next)).toBe(0);
  expect(next.bytes.equals(whole)).toBe(true);
  expect(partsIn(outputs)).toEqual([]);
}

test('three jobs in one process: each but the first finds the weights, all give the same bytes', async () => {
  const ran = [await create(), await create(), await create()];
  expect(new Set(ran.map(({ pid }) => pid)).size).toBe(1);
  const groups = ran[0]?.result.resident?.groups;
  expect(groups).toBeGreaterThan(0);
  expect(ran.map(kept)).toEqual([0, groups, groups]);
  expect(ran.map(({ bytes }) => bytes.equals(whole))).toEqual([true, true, true]);
  await keeper.close();
  expect(hasEnded(ran[0]?.pid ?? 0)).toBe(true);
});

test('one that is killed while it waits', async () => {
  const first = await create();
  process.kill(first.pid, 'SIGKILL');
  await expectFresh(first);
});

test('one that is killed in its second job: a crash, and nothing half-written', async () => {
  const first = await create();
  const onEvent = atStep('style', () => process.kill(first.pid, 'SIGKILL'));
  expect(await rejectionOf(create({ onEvent }))).toMatchObject({ code: 'ENGINE_CRASHED', fields: { signal: 'SIGKILL' } });
  expect(partsIn(outputs)).toEqual([]);
  await expectFresh(first);
});

test('one whose second job is cancelled', async () => {
  const first = await create();
  const stop = new AbortController();
  const onEvent = atStep('style', () => stop.abort());
  expect(await rejectionOf(create({ onEvent, signal: stop.signal }))).toMatchObject({ code: 'CANCELLED' });
  expect(await until(() => hasEnded(first.pid), ENDS_WITHIN)).toBeLessThan(ENDS_WITHIN);
  await expectFresh(first);
});

test('one that holds more than the next job leaves gives way', async () => {
  const { models, device, threads, skipBad } = jobOf();
  const output = join(outputs, 'embeddings.safetensors');
  const encode = (image: string, memory: number): EncodeJob => ({ kind: 'encode', images: [image], experts: ['style'], models, device, threads, skipBad, output, memory }); // prettier-ignore
  const [small = ''] = await photographs(folder, 1);
  // Decoded as a whole: in the least memory that it goes with, it leaves nothing.
  const large = join(folder, 'large.webp');
  await sharp({ create: { width: 4000, height: 4000, channels: 3, background: '#7a5' } })
    .webp()
    .toFile(large);
  const refused = await rejectionOf(runInEngine(encode(large, 1), { onEvent: () => undefined }));
  const memory = Number(refused.fields['smallest']);
  const engines: number[] = [];
  const run = (job: EncodeJob): Promise<JobResult> =>
    runInEngine(job, { onEvent: () => undefined, onStart: (pid) => engines.push(pid) }, keeper.starterFor(job));
  expect((await run(encode(small, memory))).resident?.bytes).toBeGreaterThan(0);
  const crowded = await run(encode(large, memory));
  expect(crowded).toMatchObject({ type: 'done', images: 1 });
  expect(crowded.resident).toBeUndefined();
  const [first, same, other] = engines;
  expect(same).toBe(first);
  expect(other).not.toBe(first);
});

test('one that is sent a second job while it works on the first refuses it and ends', async () => {
  const engine = fork(fileURLToPath(new URL('../../main/engine.ts', import.meta.url)));
  for (let i = 0; i < 2; i++) engine.send({ type: 'run', job: jobOf(), stays: true });
  const [answer] = (await once(engine, 'message')) as [EngineEvent];
  expect(answer).toMatchObject({ type: 'failed', error: { code: 'ENGINE_PROTOCOL' } });
  expect(await until(() => hasEnded(engine.pid ?? 0), ENDS_WITHIN)).toBeLessThan(ENDS_WITHIN);
});

test('one whose caller is killed ends', async () => {
  const script = fileURLToPath(new URL('./keeping-caller.ts', import.meta.url));
  const caller = spawn(process.execPath, [script, JSON.stringify(jobOf())], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(caller.stdout, 'data')) as [Buffer];
  const engine = Number(line.toString());
  expect(hasEnded(engine)).toBe(false);
  caller.kill('SIGKILL');
  expect(await until(() => hasEnded(engine), ENDS_WITHIN)).toBeLessThan(ENDS_WITHIN);
});
