import fc from 'fast-check';
import { expect, test } from 'vitest';
import { I2lError } from '../../main/contract/errors.ts';
import { hasEnded, LANES, type JobState, type Lane } from '../../main/contract/queue.ts';
import { compareJobs } from '../../main/jobs/order.ts';
import { JobQueue } from '../../main/jobs/queue.ts';
import type { JobRow, JobStore } from '../../main/jobs/store.ts';
import { isActive } from '../../main/jobs/transitions.ts';
import { Bench, calm } from './bench-runner.ts';
import { MemoryStore } from './memory-store.ts';

/**
 * The queue against a model of it in which jobs are an ordered list: whatever is asked, in whatever order,
 * whatever runs come to, and wherever the process dies. Nothing is lost, nothing runs twice, nothing is
 * stuck, and turns are kept.
 */
const LIMITS: Readonly<Record<Lane, number>> = { engine: 1, light: 2, download: 1 };
const CRASH_LIMIT = 2;

interface ModelJob {
  readonly id: number;
  readonly lane: Lane;
  priority: number;
  state: JobState;
  attempts: number;
  crashes: number;
  /** Told to stop, by whomever. */
  stopping: boolean;
  steps: string[];
}

/** `jobs` are in the order of their positions. */
interface Model {
  jobs: ModelJob[];
  paused: boolean;
  nextId: number;
}

class DeadError extends Error {}

/** What of a store one process sees: once it is dead, nothing more of it gets there. */
function seenBy(store: JobStore, process: { alive: boolean }): JobStore {
  return new Proxy(store, {
    get: (target, name: keyof JobStore) => {
      const method = target[name].bind(target) as (...args: unknown[]) => unknown;
      return (...args: unknown[]) => {
        if (!process.alive) throw new DeadError();
        return method(...args);
      };
    },
  });
}

class Real {
  readonly store = new MemoryStore();
  bench = new Bench();
  queue: JobQueue;
  #process = { alive: true };
  #keys = 0;

  constructor() {
    this.queue = this.#boot();
  }

  #boot(): JobQueue {
    this.#process = { alive: true };
    this.bench = new Bench();
    const runners = LANES.map((lane) => this.bench.runner(lane, lane));
    const queue = new JobQueue({
      ...{ store: seenBy(this.store, this.#process), runners, limits: LIMITS, crashLimit: CRASH_LIMIT, retryMs: 1 },
      clock: { now: () => 0, seconds: () => 0 },
    });
    queue.start();
    return queue;
  }

  /** The process is gone as it stands; what it still does reaches nobody. */
  async kill(): Promise<void> {
    this.#process.alive = false;
    const closed = this.queue.close();
    for (const id of [...this.bench.runs.keys()]) this.bench.rest(id);
    await closed;
    this.store.beforeWrite = () => undefined;
    this.queue = this.#boot();
  }

  async restart(): Promise<void> {
    const closed = this.queue.close();
    for (const id of [...this.bench.runs.keys()]) this.bench.rest(id);
    await closed;
    this.queue = this.#boot();
  }

  /** Dies at the n-th write from now on: before it, and all after it fail as well. */
  dieAtWrite(n: number): void {
    let writes = 0;
    this.store.beforeWrite = () => {
      writes += 1;
      if (writes < n) return;
      this.#process.alive = false;
      throw new DeadError();
    };
  }

  refuse(refuse: boolean): void {
    this.store.beforeWrite = () => {
      if (refuse) throw new I2lError('DISK_FULL', 'full');
    };
  }

  step(id: number): string {
    const key = `step ${(this.#keys += 1)}`;
    this.bench.of(id).context.journal.finish(key, null, () => this.store.appendLog(id, { at: 0, text: key }));
    return key;
  }
}

function inOrder(model: Model): ModelJob[] {
  return model.jobs.map((job, i) => ({ job, i })).sort((a, b) => b.job.priority - a.job.priority || a.i - b.i).map(({ job }) => job); // prettier-ignore
}

/** Who runs next, in the model. */
function fill(model: Model): void {
  if (model.paused) return;
  const begin = (job: ModelJob) => Object.assign(job, { state: 'running', attempts: job.attempts + 1, stopping: false });
  const isSuspect = ({ crashes }: ModelJob) => crashes > 0 && crashes >= CRASH_LIMIT - 1;
  const active = model.jobs.filter(({ state }) => isActive(state));
  const suspect = inOrder(model).find((job) => job.state === 'waiting' && isSuspect(job));
  if (suspect && active.length === 0) begin(suspect);
  if (suspect || active.some(isSuspect)) return;
  for (const lane of LANES) {
    const jobs = inOrder(model).filter((job) => job.lane === lane);
    let free = LIMITS[lane] - jobs.filter(({ state }) => isActive(state)).length;
    for (const job of jobs.filter(({ state }) => state === 'waiting')) {
      if (free-- <= 0) break;
      begin(job);
    }
  }
}

/** A process found the jobs of a dead one. */
function crash(model: Model): void {
  for (const job of model.jobs) {
    if (job.state === 'running') job.state = (job.crashes += 1) >= CRASH_LIMIT ? 'failed' : 'waiting';
    else if (job.state === 'pausing') Object.assign(job, { state: 'paused', crashes: job.crashes + 1 });
    else if (job.state === 'cancelling') Object.assign(job, { state: 'cancelled', crashes: job.crashes + 1 });
  }
}

function toEnd(model: Model, job: ModelJob): void {
  model.jobs = [...model.jobs.filter((other) => other !== job), job];
}

async function compare(model: Model, real: Real): Promise<void> {
  await calm();
  const rows = real.store.list().sort(compareJobs);
  const told = ({ id, state, attempts, crashes, priority }: Omit<ModelJob, 'lane' | 'stopping' | 'steps'>) => ({
    ...{ id, state, attempts, crashes, priority },
  });
  expect(rows.map(told)).toEqual(inOrder(model).map(told));
  checkInvariants(real);
  for (const job of model.jobs) expect(real.store.steps(job.id).map(({ key }) => key)).toEqual(job.steps);
}

function checkInvariants(real: Real): void {
  const rows = real.store.list();
  expect(real.bench.doubles).toEqual([]);
  const running = rows.filter(({ state }) => isActive(state)).map(({ id }) => id);
  expect([...real.bench.runs.keys()].sort()).toEqual(running.sort());
  const isActiveRow = ({ state }: JobRow) => isActive(state);
  const isSuspect = ({ crashes, state }: JobRow) => crashes >= CRASH_LIMIT - 1 && (state === 'waiting' || isActive(state));
  for (const lane of LANES)
    expect(rows.filter((row) => row.lane === lane && isActiveRow(row)).length).toBeLessThanOrEqual(LIMITS[lane]);
  if (rows.some(isSuspect)) {
    // One that may bring the process down runs alone; what is at work already comes to its end first.
    if (!real.store.paused()) expect(rows.some(isActiveRow)).toBe(true);
  } else if (!real.store.paused()) {
    for (const row of rows.filter(({ state }) => state === 'waiting')) {
      expect(rows.filter((other) => other.lane === row.lane && isActiveRow(other)).length).toBe(LIMITS[row.lane]);
    }
  }
  for (const row of rows) {
    const told = real.queue.events.job(row.id);
    expect(told).toMatchObject({ state: row.state, priority: row.priority, position: row.position, attempts: row.attempts });
    const effects = real.store.log(row.id).map(({ text }) => text).filter((text) => text.startsWith('step ')); // prettier-ignore
    expect(new Set(effects).size).toBe(effects.length);
    const keys = real.store.steps(row.id).map(({ key }) => key);
    expect(effects.filter((effect) => keys.includes(effect))).toEqual(keys);
  }
}

type Command = fc.AsyncCommand<Model, Real>;

/** A command on one job of those that it applies to; which of them is drawn. */
function onJob(
  name: string,
  pick: number,
  applies: (job: ModelJob) => boolean,
  run: (job: ModelJob, model: Model, real: Real) => void | Promise<void>,
): Command {
  const candidates = (model: Readonly<Model>) => model.jobs.filter(applies);
  return {
    check: (model) => candidates(model).length > 0,
    run: async (model, real) => {
      const jobs = candidates(model);
      await run(jobs[pick % jobs.length]!, model, real);
      fill(model);
      await compare(model, real);
    },
    toString: () => `${name}(${pick})`,
  };
}

function always(name: string, run: (model: Model, real: Real) => void | Promise<void>): Command {
  return {
    check: () => true,
    run: async (model, real) => {
      await run(model, real);
      fill(model);
      await compare(model, real);
    },
    toString: () => name,
  };
}

const enqueue = (lane: Lane, priority: number): Command =>
  always(`enqueue(${lane}, ${priority})`, (model, real) => {
    const { id } = real.queue.enqueue({ kind: lane, title: lane, input: null, priority });
    expect(id).toBe(model.nextId);
    model.nextId += 1;
    model.jobs.push({ id, lane, priority, state: 'waiting', attempts: 0, crashes: 0, stopping: false, steps: [] });
  });

const wishes: Readonly<Record<string, (pick: number) => Command>> = {
  pause: (pick) =>
    onJob(
      'pause',
      pick,
      ({ state }) => ['waiting', 'running', 'pausing', 'paused'].includes(state),
      (job, _, real) => {
        real.queue.pause(job.id);
        job.stopping ||= isActive(job.state);
        job.state = isActive(job.state) ? 'pausing' : 'paused';
      },
    ),
  resume: (pick) =>
    onJob(
      'resume',
      pick,
      ({ state }) => ['waiting', 'running', 'paused'].includes(state),
      (job, _, real) => {
        real.queue.resume(job.id);
        if (job.state === 'paused') job.state = 'waiting';
      },
    ),
  cancel: (pick) =>
    onJob(
      'cancel',
      pick,
      ({ state }) => !hasEnded(state) || state === 'cancelled',
      (job, _, real) => {
        real.queue.cancel(job.id);
        job.stopping ||= isActive(job.state);
        job.state = isActive(job.state) ? 'cancelling' : 'cancelled';
      },
    ),
  requeue: (pick) =>
    onJob(
      'requeue',
      pick,
      ({ state }) => state === 'waiting' || state === 'paused',
      (job, model, real) => {
        real.queue.requeue(job.id);
        job.state = 'waiting';
        toEnd(model, job);
      },
    ),
  retry: (pick) =>
    onJob(
      'retry',
      pick,
      ({ state }) => hasEnded(state),
      (job, model, real) => {
        const fromScratch = pick % 2 === 0;
        real.queue.retry(job.id, { fromScratch });
        if (fromScratch || job.state === 'done') job.steps = [];
        Object.assign(job, { state: 'waiting', crashes: 0 });
        toEnd(model, job);
      },
    ),
  remove: (pick) =>
    onJob(
      'remove',
      pick,
      ({ state }) => hasEnded(state),
      (job, model, real) => {
        real.queue.remove(job.id);
        model.jobs = model.jobs.filter((other) => other !== job);
      },
    ),
  setPriority: (pick) =>
    onJob(
      'setPriority',
      pick,
      ({ state }) => !hasEnded(state),
      (job, _, real) => {
        job.priority = (pick % 5) - 2;
        real.queue.setPriority(job.id, job.priority);
      },
    ),
};

const isAtRest = ({ state }: ModelJob): boolean => state === 'waiting' || state === 'paused';

/** In the list: the jobs of the target's priority that are at rest keep their slots, in the new order. */
const reorder = (pick: number, where: number): Command =>
  onJob(`reorder to ${where} `, pick, isAtRest, (job, model, real) => {
    const others = inOrder(model).filter((other) => isAtRest(other) && other !== job);
    if (others.length === 0) return;
    const before = where % (others.length + 1) === others.length ? undefined : others[where % (others.length + 1)];
    real.queue.reorder(job.id, before?.id ?? null);
    const { priority } = before ?? others.at(-1)!;
    const group = others.filter((other) => other.priority === priority);
    group.splice(before ? group.indexOf(before) : group.length, 0, job);
    const slots = model.jobs.flatMap((other, i) => (group.includes(other) ? [i] : []));
    group.forEach((other, i) => (model.jobs[slots[i]!] = other));
    job.priority = priority;
  });

const runs: Readonly<Record<string, (pick: number) => Command>> = {
  step: (pick) =>
    onJob(
      'step',
      pick,
      ({ state }) => isActive(state),
      (job, _, real) => {
        job.steps.push(real.step(job.id));
        job.crashes = 0;
      },
    ),
  done: (pick) =>
    onJob(
      'done',
      pick,
      ({ state }) => isActive(state),
      (job, _, real) => {
        real.bench.of(job.id).finish();
        Object.assign(job, { state: 'done', crashes: 0 });
      },
    ),
  fail: (pick) =>
    onJob(
      'fail',
      pick,
      ({ state }) => isActive(state),
      (job, _, real) => {
        real.bench.of(job.id).fail(new Error('it failed'));
        job.state = job.state === 'cancelling' ? 'cancelled' : 'failed';
      },
    ),
  rest: (pick) =>
    onJob(
      'rest',
      pick,
      ({ stopping, state }) => stopping && isActive(state),
      (job, _, real) => {
        expect(real.bench.of(job.id).context.signal.aborted).toBe(true);
        real.bench.rest(job.id);
        release(job);
      },
    ),
  interrupt: (pick) =>
    onJob(
      'interrupt',
      pick,
      ({ state, stopping }) => state === 'running' && !stopping,
      (job, _, real) => {
        real.bench.of(job.id).fail(new I2lError('CANCELLED', 'from outside'));
        Object.assign(job, { state: 'cancelled', crashes: 0 });
      },
    ),
};

function release(job: ModelJob): void {
  const state = ({ running: 'waiting', pausing: 'paused', cancelling: 'cancelled' } as const)[job.state as 'running'];
  Object.assign(job, { state, crashes: 0 });
}

const kill = always('kill', async (model, real) => {
  await real.kill();
  crash(model);
});

const whole: readonly Command[] = [
  kill,
  always('pauseQueue', (model, real) => {
    real.queue.pauseQueue();
    model.paused = true;
  }),
  always('pauseQueue and stop', (model, real) => {
    real.queue.pauseQueue({ stopRunning: true });
    model.paused = true;
    for (const job of model.jobs) job.stopping ||= isActive(job.state);
  }),
  always('resumeQueue', (model, real) => {
    real.queue.resumeQueue();
    model.paused = false;
  }),
  always('restart', async (model, real) => {
    await real.restart();
    for (const job of model.jobs.filter(({ state }) => isActive(state))) release(job);
  }),
];

/**
 * The process dies within another command, at one of its writes. Whether that command took effect only the
 * store knows: the model learns it from there, after nothing was found to be lost, done twice or stuck.
 */
const dyingIn = (command: Command, write: number): Command => ({
  check: (model) => command.check(model),
  run: async (model, real) => {
    const before = real.store.list().map(({ id, state }) => ({ id, state }));
    const steps = new Map(before.map(({ id }) => [id, real.store.steps(id)]));
    real.dieAtWrite(write);
    await command.run(structuredClone(model), real).catch(() => undefined);
    await real.kill();
    await calm();
    const rows = real.store.list();
    const removed = before.filter(({ id }) => !rows.some((row) => row.id === id));
    expect(removed.every(({ state }) => hasEnded(state)) && removed.length <= 1, 'only an ended job can be gone').toBe(true);
    expect(rows.length).toBeLessThanOrEqual(before.length + 1);
    checkInvariants(real);
    for (const row of rows) {
      const now = real.store.steps(row.id);
      const then = steps.get(row.id) ?? [];
      expect(now.length === 0 || then.every((step, i) => step.key === now[i]?.key), 'a finished step stays').toBe(true);
    }
    learn(model, real);
  },
  toString: () => `dying at write ${write} in ${command.toString()}`,
});

function learn(model: Model, real: Real): void {
  const rows = real.store.list().sort((a, b) => a.position - b.position);
  model.jobs = rows.map(({ id, lane, priority, state, attempts, crashes }) => ({
    ...{ id, lane, priority, state, attempts, crashes, stopping: false },
    steps: real.store.steps(id).map(({ key }) => key),
  }));
  model.paused = real.store.paused();
  model.nextId = Math.max(model.nextId, ...rows.map(({ id }) => id + 1));
}

/** A run comes to its end while the disk is full: it is noted when there is room again. */
const endWhileFull = (pick: number): Command =>
  onJob(
    'end while full',
    pick,
    ({ state }) => isActive(state),
    async (job, _, real) => {
      real.refuse(true);
      real.bench.of(job.id).finish();
      await calm();
      expect(() => real.queue.enqueue({ kind: 'light', title: 'x', input: null })).toThrow('full');
      real.refuse(false);
      Object.assign(job, { state: 'done', crashes: 0 });
      await expect.poll(() => real.store.get(job.id)?.state, { interval: 1 }).toBe('done');
    },
  );

const pick = fc.nat(20);
const plain = [
  fc.tuple(fc.constantFrom(...LANES), fc.integer({ min: -1, max: 1 })).map((args) => enqueue(...args)),
  fc.tuple(fc.constantFrom<Lane>('engine', 'light'), fc.constant(0)).map((args) => enqueue(...args)),
  ...Object.values({ ...wishes, ...runs }).map((make) => pick.map(make)),
  fc.tuple(pick, pick).map((args) => reorder(...args)),
  fc.constantFrom(...whole),
  fc.constant(kill),
];
const dying = fc.tuple(fc.oneof(...plain), fc.integer({ min: 1, max: 6 })).map((args) => dyingIn(...args));

/** In the end, let everything run: all that is not at rest by a user's wish comes to its end. */
async function drain(model: Model, real: Real): Promise<void> {
  real.queue.resumeQueue();
  for (const { id, state } of real.queue.list()) if (state === 'paused') real.queue.resume(id);
  for (let turns = 0; real.queue.list().some(({ state }) => !hasEnded(state)); turns++) {
    expect(turns, 'every turn ends a job').toBeLessThan(2 * model.nextId + 2);
    await calm();
    for (const [id, { context }] of [...real.bench.runs]) {
      if (context.signal.aborted) real.bench.rest(id);
      else real.bench.of(id).finish();
    }
    await calm();
    for (const { id, state } of real.queue.list()) if (state === 'paused') real.queue.resume(id);
  }
  expect(new Set(real.store.list().map(({ id }) => id))).toEqual(new Set(model.jobs.map(({ id }) => id)));
  await real.queue.close();
}

test('no job is lost, run twice at once or stuck, and turns are kept', async () => {
  await fc.assert(
    fc.asyncProperty(fc.commands([...plain, dying, pick.map(endWhileFull)], { maxCommands: 40, size: 'max' }), async (commands) => {
      const model: Model = { jobs: [], paused: false, nextId: 1 };
      const real = new Real();
      await fc.asyncModelRun(() => ({ model, real }), commands);
      await drain(model, real);
    }),
    { numRuns: Number(process.env['I2L_MODEL_RUNS'] ?? 300) },
  );
});
