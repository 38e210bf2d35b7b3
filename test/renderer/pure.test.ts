import { describe, expect, test } from 'vitest';
import { createJobSchema } from '../../main/contract/job.ts';
import { DEFAULT_SETTINGS, type AppInfo } from '../../main/contract/app.ts';
import type { JobView } from '../../main/contract/queue.ts';
import { makeFormat } from '../../renderer/src/i18n/format.ts';
import { applyEvent, placeBefore, sectionsOf } from '../../renderer/src/state/queue-mirror.ts';
import { detailsOf } from '../../renderer/src/ui/failure.ts';
import { expertsOf, fileNameOf, imagesOf, jobOf, lackOf, outputOf, type Draft } from '../../renderer/src/views/create/recipe.ts';
import { budgetAt, budgetSteps, stepOf } from '../../renderer/src/views/settings/budget.ts';

const draft: Draft = {
  paths: '/a/one.jpg\n\n "/a/two.jpg" \n/a/one.jpg',
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
const info = { dataFolder: '/data', modelsFolder: '/data/models', platform: 'linux' } as AppInfo;

describe('a recipe', () => {
  test('takes each line once, without the quotes of a copied path', () => {
    expect(imagesOf(draft.paths)).toEqual(['/a/one.jpg', '/a/two.jpg']);
  });

  test('has the experts that are on and that the target has', () => {
    expect(expertsOf(draft)).toEqual([{ name: 'style', strength: 0.5 }, { name: 'coarse', strength: 1 }]); // prettier-ignore
    expect(expertsOf({ ...draft, target: 'z-image' })).toEqual([{ name: 'style', strength: 0.5 }]);
  });

  test('says the first thing that it lacks', () => {
    expect(lackOf(draft)).toBeUndefined();
    expect(lackOf({ ...draft, paths: ' \n' })).toBe('images');
    expect(lackOf({ ...draft, name: ' . ' })).toBe('name');
  });

  test('becomes a job that the contract takes', () => {
    const job = createJobSchema.parse(jobOf(draft, info, { ...DEFAULT_SETTINGS, threads: 3 }));
    expect(job.sets).toMatchObject([{ output: '/data/loras/My style.safetensors', images: [{ weight: 1 }, { weight: 1 }] }]);
    expect(job.threads).toBe(3);
  });

  test('is written under a name that every system takes, and never outside its folder', () => {
    expect(fileNameOf('../a:b?')).toBe('..-a-b-');
    expect(fileNameOf('..')).toBe('');
    expect(outputOf({ dataFolder: 'C:\\data', platform: 'win32' }, 'x')).toBe('C:\\data\\loras\\x.safetensors');
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
