import { fork, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import { eventSchema, type EngineEvent } from '../../main/contract/engine.ts';
import { float32Bytes } from '../../main/weights/values.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';
import { endOf, startCli } from '../cli/run-cli.ts';
import { dinov3Tiny, makeTinyModels, modelFile, siglip2Tiny, styleTiny } from '../cli/tiny-models.ts';
import { tempFolder } from '../unit/temp.ts';
import { childrenOf, hasEnded, moments, partsIn, until } from './processes.ts';
import { atStep, makeSlowJob, outcomeOf, sameBytes, type Outcome, type SlowJob } from './slow-job.ts';

/**
 * The engine and its caller killed at any moment: an answer at once, nothing half-written, the next run works.
 * I2L_KILLS sets how often; npm run test:chaos does it 100 times.
 */
const SEED = 20;
const ENGINE_KILLS = Number(process.env['I2L_KILLS'] ?? 6);
const CALLER_KILLS = Math.ceil(ENGINE_KILLS / 3);

/** What the project promises, in milliseconds. */
const ANSWER_WITHIN = 1000;
const ENGINE_ENDS_WITHIN = 2000;

const folder = tempFolder();
const outputs = join(folder, 'outputs');
const output = join(outputs, 'lora.safetensors');
const before = Buffer.from('what was here before');

let slow: SlowJob;
/** The file that an undisturbed run makes, and how long the run takes. */
let whole: Buffer;
let duration: number;

beforeAll(async () => {
  process.env['NODE_COMPILE_CACHE'] ??= join(tmpdir(), 'node-compile-cache');
  mkdirSync(outputs);
  slow = makeSlowJob(folder);
  await expectDone(); // The first run also fills the caches.
  const started = performance.now();
  await expectDone();
  duration = performance.now() - started;
  whole = readFileSync(output);
}, 30_000);

async function expectDone(): Promise<void> {
  expect(await outcomeOf(slow.job(output))).toEqual({ done: true });
}

function resetOutput(): void {
  writeFileSync(output, before);
}

/** Either nothing happened or everything did: also where the engine died between its file's last step and its answer. */
function expectIntact(outcome: { done: boolean }, when: string): void {
  const isWhole = sameBytes(output, whole);
  expect(isWhole || (!outcome.done && sameBytes(output, before)), `the target, ${when}`).toBe(true);
  expect(partsIn(outputs), `what is left, ${when}`).toEqual([]);
}

function expectCrash(outcome: Outcome, when: string): void {
  if (outcome.done) return;
  const { code, message, fields } = outcome.error;
  expect({ code, signal: fields['signal'] }, `${when}: ${message}`).toEqual({ code: 'ENGINE_CRASHED', signal: 'SIGKILL' });
}

describe('the engine is killed', () => {
  test(`${ENGINE_KILLS} times, at moments spread over the job`, async () => {
    let crashes = 0;
    for (const delay of moments(ENGINE_KILLS, duration, SEED)) {
      resetOutput();
      const when = `killed after ${delay.toFixed(0)} of ${duration.toFixed(0)} ms`;
      let killed = Number.NaN;
      const outcome = await outcomeOf(slow.job(output), {
        onStart: (pid) =>
          void setTimeout(delay).then(() => {
            killed = performance.now();
            if (!hasEnded(pid)) process.kill(pid, 'SIGKILL');
          }),
      });
      if (!outcome.done) expect(performance.now() - killed, `milliseconds to the answer, ${when}`).toBeLessThan(ANSWER_WITHIN);
      expectCrash(outcome, when);
      expectIntact(outcome, when);
      crashes += Number(!outcome.done);
    }
    expect(crashes, 'jobs that did not win the race').toBeGreaterThan(ENGINE_KILLS / 2);
    await expectDone();
    expect(sameBytes(output, whole)).toBe(true);
  });

  test('while its file is half written', async () => {
    resetOutput();
    let engine = 0;
    let partsThen: string[] = [];
    const outcome = await outcomeOf(slow.job(output), {
      onStart: (pid) => (engine = pid),
      onEvent: atStep('style', () => {
        partsThen = partsIn(outputs);
        process.kill(engine, 'SIGKILL');
      }),
    });
    expect(partsThen).toEqual([`lora.safetensors.${engine}-0.i2l-part`]);
    expect(outcome.done).toBe(false);
    expectCrash(outcome, 'while it writes');
    expectIntact(outcome, 'while it writes');
    await expectDone();
    expect(sameBytes(output, whole)).toBe(true);
  });

  test('where no file was: none is there afterwards', async () => {
    rmSync(output, { force: true });
    let engine = 0;
    const outcome = await outcomeOf(slow.job(output), {
      onStart: (pid) => (engine = pid),
      onEvent: atStep('style', () => process.kill(engine, 'SIGKILL')),
    });
    expect(outcome.done).toBe(false);
    expect(existsSync(output)).toBe(false);
    expect(partsIn(outputs)).toEqual([]);
  });

  test('an answer that was given counts, even where the caller hears of the end first', async () => {
    let last = 0;
    const outcome = await outcomeOf(slow.job(output), {
      onEvent: (event) => {
        if (event.type !== 'progress' || event.stageIndex !== event.stageCount) return;
        last++;
        // The caller is busy while the engine finishes, answers and exits.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
      },
    });
    expect(last).toBe(1);
    expect(outcome).toEqual({ done: true });
    expect(sameBytes(output, whole)).toBe(true);
  });
});

function manyEmbeddings(count: number): Parameters<typeof writeSafetensors>[1] {
  const widths = { siglip2: siglip2Tiny.width, dinov3: dinov3Tiny.width };
  return Array.from({ length: count }, (_, i) =>
    Object.entries(widths).map(([name, width]) => ({
      name: `image.${i}.${name}`,
      dtype: 'F32' as const,
      shape: [width],
      bytes: float32Bytes(Float32Array.from({ length: width }, (_, at) => Math.sin(i + at))),
    })),
  ).flat();
}

describe('the caller is killed', () => {
  /** Starts the command line and waits for its engine. */
  async function startBoth(
    args = [...slow.args(output), '--quiet'],
  ): Promise<{ caller: number; engine: number; end: Promise<unknown> }> {
    const child = startCli(args);
    const caller = child.pid ?? 0;
    const end = endOf(child);
    await until(() => childrenOf(caller).length > 0, 10_000);
    const [engine = 0] = childrenOf(caller);
    expect(engine, 'an engine was started').toBeGreaterThan(0);
    return { caller, engine, end };
  }

  test.skipIf(process.platform === 'win32')(`${CALLER_KILLS} times: the engine ends by itself`, async () => {
    for (const delay of moments(CALLER_KILLS, duration, SEED + 1)) {
      resetOutput();
      const when = `caller killed ${delay.toFixed(0)} of ${duration.toFixed(0)} ms after the engine's start`;
      const { caller, engine, end } = await startBoth();
      await setTimeout(delay);
      if (!hasEnded(caller)) process.kill(caller, 'SIGKILL'); // It may have been quicker this time.
      expect(await until(() => hasEnded(engine), ENGINE_ENDS_WITHIN), `the engine's end, ${when}`).toBeLessThan(ENGINE_ENDS_WITHIN);
      await end;
      // It may have finished in time; what it may not is stop half-way.
      expectIntact({ done: !sameBytes(output, before) }, when);
    }
  });

  test.skipIf(process.platform === 'win32')('while the engine works too long to notice before it speaks', async () => {
    // One long step that ends with an event, which nobody reads any more.
    const style = modelFile(
      makeTinyModels(join(folder, 'long'), { ...styleTiny, hidden: 1024, blocks: 4 }),
      'qwen-image-i2l-style',
    );
    const embeddings = join(folder, 'embeddings.safetensors');
    writeSafetensors(embeddings, manyEmbeddings(32));
    resetOutput();
    const args = ['decode', embeddings, '--expert', style, '--output', output, '--dtype', 'f32', '--device', 'cpu', '--quiet'];
    const { caller, engine, end } = await startBoth(args);
    await until(() => partsIn(outputs).some((name) => statSync(join(outputs, name)).blocks * 512 > 200_000), 10_000);
    process.kill(caller, 'SIGKILL');
    expect(await until(() => hasEnded(engine), ENGINE_ENDS_WITHIN)).toBeLessThan(ENGINE_ENDS_WITHIN);
    await end;
    expect(partsIn(outputs)).toEqual([]);
    expect(sameBytes(output, before), 'the target').toBe(true);
  });

  test.skipIf(process.platform === 'win32')('and the engine with it: the next job clears up', async () => {
    resetOutput();
    const { caller, engine, end } = await startBoth();
    await until(() => partsIn(outputs).length > 0, 10_000);
    for (const signal of ['SIGSTOP', 'SIGKILL'] as const) for (const pid of [engine, caller]) process.kill(pid, signal);
    await end;
    await until(() => hasEnded(engine), ENGINE_ENDS_WITHIN);
    // Not always its first: kept embeddings are written before, unless an earlier job has.
    const left = partsIn(outputs).map((name) => name.replace(/-\d+(?=\.i2l-part$)/, '-n'));
    expect(left, 'nobody was left to remove it').toEqual([`lora.safetensors.${engine}-n.i2l-part`]);
    expect(sameBytes(output, before)).toBe(true);
    await expectDone();
    expectIntact({ done: true }, 'after the next job');
  });
});

describe('temporary files of others', () => {
  test("a living process's is left alone, a dead one's goes, another output's stays", async () => {
    const { pid: dead } = spawnSync(process.execPath, ['--version']);
    const living = `lora.safetensors.${process.pid}-0.i2l-part`;
    const stale = `lora.safetensors.${dead}-3.i2l-part`;
    const others = `other.safetensors.${dead}-0.i2l-part`;
    for (const name of [living, stale, others]) writeFileSync(join(outputs, name), name);
    await expectDone();
    expect(partsIn(outputs).sort()).toEqual([living, others].sort());
    expect(readFileSync(join(outputs, living), 'utf8')).toBe(living);
    for (const name of [living, others]) rmSync(join(outputs, name));
  });
});

describe('cancelling', () => {
  test.each(['siglip2', 'style'])('between two stages, after the first of %s', async (step) => {
    resetOutput();
    const controller = new AbortController();
    let since = Number.NaN;
    const outcome = await outcomeOf(slow.job(output), {
      signal: controller.signal,
      onEvent: atStep(step, () => {
        since = performance.now();
        controller.abort();
      }),
    });
    expect(outcome).toMatchObject({ done: false, error: { code: 'CANCELLED' } });
    expect(performance.now() - since).toBeLessThan(ANSWER_WITHIN);
    expectIntact(outcome, 'cancelled');
  });

  test('before it begins', async () => {
    resetOutput();
    const outcome = await outcomeOf(slow.job(output), { signal: AbortSignal.abort() });
    expect(outcome).toMatchObject({ done: false, error: { code: 'CANCELLED' } });
    expectIntact(outcome, 'cancelled');
  });

  test('an interrupt that reaches the starting engine too is no crash', async () => {
    resetOutput();
    const controller = new AbortController();
    const outcome = await outcomeOf(slow.job(output), {
      signal: controller.signal,
      onStart: (pid) => {
        process.kill(pid, 'SIGINT'); // Before it can have a handler, as Ctrl-C in a terminal does.
        controller.abort();
      },
    });
    expect(outcome).toMatchObject({ done: false, error: { code: 'CANCELLED' } });
    expectIntact(outcome, 'interrupted');
  });
});

describe('an engine that is sent nonsense', () => {
  const engine = new URL('../../main/engine.ts', import.meta.url).pathname;

  /** What it answers to one message, and the code it ends with. */
  function answersTo(message: object): Promise<{ events: EngineEvent[]; code: number | null }> {
    const child = fork(engine, { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    const events: EngineEvent[] = [];
    child.on('message', (event) => events.push(eventSchema.parse(event)));
    child.send(message);
    return new Promise((resolve) => child.on('exit', (code) => resolve({ events, code })));
  }

  test.each([
    ['something that is no request', { type: 'nonsense' }],
    ['a job of an unknown kind', { type: 'run', job: { kind: 'destroy', output: '/' } }],
    ['a job without images', { type: 'run', job: { kind: 'create', images: [] } }],
  ])('%s: says so and ends', async (_name, message) => {
    const { events, code } = await answersTo(message);
    expect(events).toMatchObject([{ type: 'failed', error: { code: 'ENGINE_PROTOCOL' } }]);
    expect(code).toBe(0);
  });

  test('a job whose threads are no number, and everything else is right', async () => {
    const { events } = await answersTo({ type: 'run', job: { ...slow.job(output), threads: 'all' } });
    expect(events).toMatchObject([{ type: 'failed', error: { code: 'ENGINE_PROTOCOL' } }]);
  });
});
