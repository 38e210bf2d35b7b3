import { describe, expect, test } from 'vitest';
import type { JobView } from '../../main/contract/queue.ts';
import { makeFormat } from '../../renderer/src/i18n/format.ts';
import { groupsOf, movedTo } from '../../renderer/src/state/image-order.ts';
import { applyEvent, placeBefore, sectionsOf } from '../../renderer/src/state/queue-mirror.ts';
import { detailsOf } from '../../renderer/src/ui/failure.ts';
import { expertsOf, lackOf, missingBytes, type Draft } from '../../renderer/src/views/create/recipe.ts';
import { budgetAt, budgetSteps, stepOf } from '../../renderer/src/views/settings/budget.ts';

const draft: Draft = {
  name: 'My style',
  target: 'qwen-image',
  experts: {
    style: { on: true, strength: 0.5 },
    coarse: { on: true, strength: 1 },
    fine: { on: false, strength: 1 },
    bias: { on: false, strength: 1 },
  },
  skipBad: false,
};

describe('a recipe', () => {
  const ready = (['style', 'coarse', 'fine', 'bias'] as const).map((name) => ({ name, isReady: true, missing: [] }));

  test('has the experts that are on and that the target has', () => {
    expect(expertsOf(draft)).toEqual([{ name: 'style', strength: 0.5 }, { name: 'coarse', strength: 1 }]); // prettier-ignore
    expect(expertsOf({ ...draft, target: 'z-image' })).toEqual([{ name: 'style', strength: 0.5 }]);
  });

  test('says the first thing that it lacks', () => {
    expect(lackOf(draft, [3], ready)).toBeUndefined();
    expect(lackOf(draft, [3], undefined)).toBeUndefined();
    expect(lackOf(draft, [], ready)).toBe('sets');
    expect(lackOf(draft, [3, 0], ready)).toBe('images');
    const on = { on: true, strength: 1 };
    const off = { on: false, strength: 1 };
    expect(lackOf({ ...draft, experts: { style: off, coarse: off, fine: off, bias: on } }, [3], ready)).toBe('experts');
    expect(lackOf({ ...draft, experts: { ...draft.experts, style: { on: true, strength: 0 }, coarse: off } }, [3], ready)).toBe('experts'); // prettier-ignore
    const without = ready.map((option) => (option.name === 'coarse' ? { ...option, isReady: false } : option));
    expect(lackOf(draft, [3], without)).toBe('models');
    expect(lackOf({ ...draft, target: 'z-image' }, [3], without)).toBeUndefined();
  });

  test('counts what is to be downloaded, as far as sizes are known', () => {
    const missing = [{ id: 'a', title: 'A', bytes: 5 }, { id: 'b', title: 'B' }, { id: 'c', title: 'C', bytes: 2 }]; // prettier-ignore
    expect(missingBytes({ name: 'fine', isReady: false, missing })).toBe(7);
  });
});

describe('the order of images', () => {
  test('an image moved to a place lies there, and no other is lost', () => {
    expect(movedTo(['a', 'b', 'c'], 'c', 0)).toEqual(['c', 'a', 'b']);
    expect(movedTo(['a', 'b', 'c'], 'a', 1)).toEqual(['b', 'a', 'c']);
    expect(movedTo(['a', 'b', 'c'], 'b', -5)).toEqual(['b', 'a', 'c']);
    expect(movedTo(['a', 'b', 'c'], 'b', 99)).toEqual(['a', 'c', 'b']);
  });

  test('images that look alike are grouped through each other, the first of the set first', () => {
    const near = [{ a: 'd', b: 'b', distance: 1 }, { a: 'd', b: 'a', distance: 2 }, { a: 'a', b: 'b', distance: 9 }]; // prettier-ignore
    expect(groupsOf(['a', 'b', 'c', 'd'], near)).toEqual([['a', 'b', 'd']]);
    expect(groupsOf(['a', 'b'], [{ a: 'a', b: 'gone', distance: 0 }])).toEqual([]);
  });
});

const job = (id: number, state: JobView['state'], more: Partial<JobView> = {}): JobView => ({
  ...({ id, state, priority: 0, position: id, finishedAt: null } as JobView),
  ...more,
});

describe('the mirrored queue', () => {
  const queue = { paused: false, problem: null };

  test('is what the stream says: a snapshot, then changes in order, then what is removed', () => {
    const before = applyEvent(new Map([[9, job(9, 'done')]]), {
      type: 'snapshot',
      jobs: [job(1, 'waiting'), job(2, 'waiting')],
      queue,
    });
    const after = applyEvent(before, { type: 'change', jobs: [job(1, 'done'), job(1, 'running')], removed: [2] });
    expect([...after.values()].map(({ id, state }) => [id, state])).toEqual([[1, 'running']]);
    expect(before.size, 'what was before stays as it was').toBe(2);
  });

  test('waits by priority, then by position; finished ones come latest first', () => {
    const all = [job(1, 'waiting'), job(2, 'paused', { priority: 5 }), job(3, 'done', { finishedAt: 1 }), job(4, 'failed', { finishedAt: 2 }), job(5, 'pausing')]; // prettier-ignore
    const { running, waiting, finished } = sectionsOf(new Map(all.map((one) => [one.id, one])));
    expect([running, waiting, finished].map((jobs) => jobs.map(({ id }) => id))).toEqual([[5], [2, 1], [4, 3]]);
  });

  test('a job moves before another, to the end, or nowhere', () => {
    const waiting = [1, 2, 3].map((id) => job(id, 'waiting'));
    expect([placeBefore(waiting, 3, -1), placeBefore(waiting, 1, 1), placeBefore(waiting, 1, 9)]).toEqual([2, 3, null]);
    expect([placeBefore(waiting, 1, -1), placeBefore(waiting, 3, 1), placeBefore(waiting, 8, 1)]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });
});

describe('formats', () => {
  const en = makeFormat('en');
  const zh = makeFormat('zh-CN');

  test('sizes have three figures, and never a thousand of the smaller unit', () => {
    expect([0, 999, 1500, 999_960, 4.81e9].map(en.bytes)).toEqual(['0 byte', '999 byte', '1.5 kB', '1 MB', '4.81 GB']);
    expect([1.5 * 2 ** 30, 640 * 2 ** 20].map(en.memory)).toEqual(['1.5 GiB', '640 MiB']);
  });

  test('numbers in a column have their points below each other', () => {
    expect([0.989, 1, 12.34567].map((value) => en.inColumn(value, 4))).toEqual(['0.9890', '1.0000', '12.3457']);
    expect(en.number(0.989, 4)).toBe('0.989');
  });

  test('a share below one is never shown as all of it', () => {
    expect([0.9999, 1, 0.987].map((share) => en.percent(share))).toEqual(['99.9%', '100%', '98.7%']);
  });

  test('times have two units at most', () => {
    expect([1.23, 59.6, 3725, 90_000].map(en.duration)).toEqual(['1.2 sec', '1 min', '1 hr 2 min', '1 day 1 hr']);
    expect(zh.duration(65)).toMatch(/1.*分.*5.*秒/);
    expect(en.ago(0, 300_000)).toBe('5 minutes ago');
  });
});

test('the memory slider finds the step of every budget that it offers', () => {
  const steps = budgetSteps(24 * 2 ** 30);
  steps.forEach((budget, step) => expect(stepOf(steps, budget)).toBe(step));
  expect(budgetAt(steps, 0)).toBe(2 ** 29);
  expect(steps.at(-1)).toBeLessThanOrEqual(24 * 2 ** 30);
});

test("an error's details hold its code, fields and cause", () => {
  const text = detailsOf({ code: 'DISK_FULL', message: 'Full.', fields: { file: '/a' }, cause: new Error('ENOSPC') });
  expect(text.split('\n')).toEqual(['DISK_FULL: Full.', 'file: /a', 'cause: ENOSPC']);
});
