import type { BrowserWindow } from 'electron';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { JobView, QueueEvent } from '../../main/contract/queue.ts';

const { shown, system } = vi.hoisted(() => ({
  shown: [] as { options: object; click: () => void }[],
  system: { tells: true },
}));
vi.mock('electron', () => ({
  Notification: class {
    static isSupported = (): boolean => system.tells;
    readonly #entry: (typeof shown)[number];
    constructor(options: object) {
      this.#entry = { options, click: () => undefined };
    }
    on(_event: 'click', click: () => void): void {
      this.#entry.click = click;
    }
    show(): void {
      shown.push(this.#entry);
    }
  },
}));
const { followQueue } = await import('../../main/shell/progress.ts');
const { endWords } = await import('../../main/shell/words.ts');

const window = { isDestroyed: vi.fn(), isFocused: vi.fn(), setProgressBar: vi.fn(), show: vi.fn() };

beforeEach(() => {
  vi.resetAllMocks();
  shown.length = 0;
  system.tells = true;
  window.isDestroyed.mockReturnValue(false);
  window.isFocused.mockReturnValue(false);
});

function job(id: number, state: JobView['state'], more: Partial<JobView> = {}): JobView {
  return {
    ...{ id, kind: 'create', lane: 'engine', title: `Job ${id}`, state, priority: 0, position: id, attempts: 1 },
    ...{ progress: null, error: null, createdAt: 0, startedAt: 0, finishedAt: null, runSeconds: 0 },
    ...more,
  };
}

const at = (fraction: number): Partial<JobView> => ({ progress: { step: 'dinov3', stage: 'block 1', fraction } });
const queue = { paused: false, problem: null };
const all = (...jobs: JobView[]): QueueEvent => ({ type: 'snapshot', jobs, queue });
const now = (...jobs: JobView[]): QueueEvent => ({ type: 'change', jobs, removed: [] });

async function follow(...events: readonly QueueEvent[]): Promise<void> {
  await followQueue(
    (async function* () {
      yield* events;
    })(),
    window as unknown as BrowserWindow,
    () => endWords('system', 'en-GB'),
  );
}

const bars = (): unknown[] => window.setProgressBar.mock.calls.map(([value]) => value as unknown);
const told = (): object[] => shown.map(({ options }) => options);

describe("the taskbar's bar", () => {
  test('follows the running job, and goes when it ends', async () => {
    await follow(all(job(1, 'waiting')), now(job(1, 'running')), now(job(1, 'running', at(0.25))), now(job(1, 'done', at(1))));
    expect(bars()).toEqual([-1, 2, 0.25, -1]);
  });

  test('is of the engine: a download beside it shows none', async () => {
    const download = job(1, 'running', { lane: 'download', ...at(0.9) });
    await follow(all(download), now(job(2, 'running', at(0.1))), now(job(2, 'paused', at(0.1))));
    expect(bars()).toEqual([-1, 0.1, -1]);
  });

  test('forgets a job that is removed from the list', async () => {
    await follow(all(job(1, 'running', at(0.5))), { type: 'change', jobs: [], removed: [1] });
    expect(bars()).toEqual([0.5, -1]);
  });

  test('a window that is gone is left alone', async () => {
    window.isDestroyed.mockReturnValueOnce(false).mockReturnValue(true);
    await follow(all(job(1, 'running')), now(job(1, 'done')));
    expect(bars()).toEqual([2]);
    expect(told()).toEqual([]);
  });
});

describe('a notification', () => {
  const error = { code: 'DISK_FULL', message: '/out: the disk is full.', fields: {} } as const;

  test('tells what is done and what failed, each once', async () => {
    const failed = job(2, 'failed', { error });
    await follow(
      all(job(1, 'running'), job(2, 'waiting')),
      now(job(1, 'done')),
      now(job(1, 'done'), job(2, 'running')),
      now(failed),
    );
    expect(told()).toEqual([
      { title: 'Job 1', body: 'Done.' },
      { title: 'Job 2', body: error.message },
    ]);
  });

  test('is in the language of the settings, or of the system', () => {
    const [done, failed] = [job(1, 'done'), job(1, 'failed', { error })];
    for (const words of [endWords('zh-CN', 'en'), endWords('system', 'zh-Hans-CN')]) {
      expect(words(done)).toBe('已完成。');
      expect(words(failed)).toContain('失败');
    }
    expect(endWords('en', 'zh-CN')(done)).toBe('Done.');
    expect(endWords('system', 'de')(failed)).toBe(error.message);
  });

  test('a click shows the window', async () => {
    await follow(all(job(1, 'running')), now(job(1, 'done')));
    shown[0]?.click();
    expect(window.show).toHaveBeenCalledOnce();
  });

  test('tells again of a job that was run again', async () => {
    await follow(all(job(1, 'done')), now(job(1, 'running', { attempts: 2 })), now(job(1, 'done', { attempts: 2 })));
    expect(told()).toHaveLength(1);
  });

  test('none of what ended before the start, was cancelled, or is seen in the window', async () => {
    await follow(all(job(1, 'done'), job(2, 'running')), now(job(2, 'cancelled')));
    window.isFocused.mockReturnValue(true);
    await follow(all(job(3, 'running')), now(job(3, 'done')));
    expect(told()).toEqual([]);
  });

  test('none where the system has none', async () => {
    system.tells = false;
    await follow(all(job(1, 'running')), now(job(1, 'failed', { error })));
    expect(told()).toEqual([]);
  });
});
