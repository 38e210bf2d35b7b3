import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hasEnded, JOB_STATES } from '../../main/contract/queue.ts';
import { compareJobs, planMove } from '../../main/jobs/order.ts';
import { isActive, JOB_EVENTS, nextState, type JobEvent } from '../../main/jobs/transitions.ts';

/** What a run can come to, whatever was asked of it meanwhile; and what can happen to its process. */
const OUTCOMES = ['done', 'fail', 'stop', 'release', 'crash'] as const satisfies readonly JobEvent[];
const WISHES = ['pause', 'resume', 'cancel', 'retry', 'requeue'] as const satisfies readonly JobEvent[];

test('a state with a runner at work takes whatever the run comes to, and has then none', () => {
  for (const state of JOB_STATES.filter(isActive)) {
    for (const outcome of OUTCOMES) {
      const next = nextState(state, outcome);
      expect(next, `${state} ${outcome}`).toBeDefined();
      expect(isActive(next!), `${state} ${outcome} -> ${next}`).toBe(false);
    }
  }
});

test('without a runner at work nothing comes of a run, and only a start brings one', () => {
  for (const state of JOB_STATES.filter((one) => !isActive(one))) {
    for (const outcome of OUTCOMES) expect(nextState(state, outcome), `${state} ${outcome}`).toBeUndefined();
    for (const wish of WISHES) expect(isActive(nextState(state, wish) ?? state), `${state} ${wish}`).toBe(false);
    expect(nextState(state, 'start')).toBe(state === 'waiting' ? 'running' : undefined);
  }
});

test('what has ended stays so until it is run again', () => {
  for (const state of JOB_STATES.filter(hasEnded)) {
    for (const event of JOB_EVENTS.filter((one) => one !== 'retry')) expect(nextState(state, event) ?? state).toBe(state);
    expect(nextState(state, 'retry')).toBe('waiting');
  }
});

test('a wish that is granted changes nothing the second time', () => {
  for (const state of JOB_STATES) {
    for (const wish of ['pause', 'resume', 'cancel', 'requeue'] as const) {
      const once = nextState(state, wish);
      if (once) expect(nextState(once, wish), `${state} ${wish} twice`).toBe(once);
    }
  }
});

test('every job can be brought to an end from wherever it is', () => {
  for (const state of JOB_STATES.filter((one) => !hasEnded(one))) {
    const cancelled = nextState(state, 'cancel');
    expect(cancelled === 'cancelled' || cancelled === 'cancelling', state).toBe(true);
  }
  expect(nextState('cancelling', 'stop')).toBe('cancelled');
});

const places = fc
  .uniqueArray(fc.record({ id: fc.nat(50), priority: fc.integer({ min: -2, max: 2 }), position: fc.nat(100) }), {
    selector: ({ id }) => id,
    minLength: 2,
    maxLength: 12,
  })
  .map((jobs) => jobs.map((job, i) => ({ ...job, position: job.position * 16 + i })));

test('a moved job is where it was put, and the others keep their order and priority', () => {
  fc.assert(
    fc.property(places, fc.nat(), fc.option(fc.nat()), (jobs, which, where) => {
      const { id } = jobs[which % jobs.length]!;
      const others = jobs.filter((job) => job.id !== id).sort(compareJobs);
      const before = where === null ? null : others[where % others.length]!.id;
      const changes = new Map(planMove(jobs, id, before).map((place) => [place.id, place]));
      const after = jobs.map((job) => changes.get(job.id) ?? job).sort(compareJobs);
      const order = after.map((job) => job.id);
      expect(order.filter((one) => one !== id)).toEqual(others.map((job) => job.id));
      expect(order[order.indexOf(id) + 1] ?? null).toBe(before);
      for (const job of after.filter((one) => one.id !== id)) {
        expect(job.priority).toBe(jobs.find((one) => one.id === job.id)!.priority);
      }
      expect(new Set(after.map(({ position }) => position)).size).toBe(jobs.length);
    }),
  );
});
