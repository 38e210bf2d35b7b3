import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { LARGEST_IMAGE, LARGEST_LORA } from '../../main/contract/uploads.ts';

/** As far as it is used here: the sources are typed for a page, which these tests are not. */
interface SendOptions {
  readonly signal: AbortSignal;
  readonly onSent: (bytes: number) => void;
}
type Uploaded = { readonly duplicate?: boolean; readonly hash?: string } | { readonly error: { readonly code: string } };
interface Queue {
  readonly busy: boolean;
  readonly failed: readonly { readonly file: string }[];
  add(files: readonly File[], place: number): void;
  isBusyFor(place: number): boolean;
  follow(files: number, place: number, take: (signal: AbortSignal) => Promise<AsyncIterable<never>>): Promise<void>;
  stop(): void;
}
interface QueueModule {
  readonly UploadQueue: new (kind: {
    readonly atOnce: number;
    readonly send: (file: File, place: number, options: SendOptions) => Promise<Uploaded>;
    readonly refresh: () => Promise<void>;
    readonly arrange?: (place: number, arrived: readonly Uploaded[]) => Promise<void>;
  }) => Queue;
}
interface UploadModule {
  readonly uploadImage: (setId: number, file: File, options: SendOptions) => Promise<Uploaded>;
  readonly uploadLora: (file: File, options: SendOptions) => Promise<Uploaded>;
}
const source = (path: string): string => join(import.meta.dirname, '../../renderer/src', path);

afterEach(() => vi.unstubAllGlobals());

describe('one file', () => {
  const options = (signal = new AbortController().signal): SendOptions => ({ signal, onSent: () => undefined });
  const sized = (name: string, size: number): File => Object.defineProperty(new File([], name), 'size', { value: size });
  let sent = 0;
  let upload: UploadModule;

  beforeEach(async () => {
    sent = 0;
    vi.stubGlobal(
      'XMLHttpRequest',
      class extends EventTarget {
        readonly upload = new EventTarget();
        readonly status = 200;
        readonly response = {};
        open(): void {}
        send(): void {
          sent++;
          this.dispatchEvent(new Event('load'));
        }
      },
    );
    upload = (await import(source('api/upload.ts'))) as UploadModule;
  });

  test('that can be taken is sent', async () => {
    expect(await upload.uploadLora(sized('a.SafeTensors', LARGEST_LORA), options())).toEqual({});
    expect(await upload.uploadImage(1, sized('a.png', LARGEST_IMAGE), options())).toEqual({});
    expect(sent).toBe(2);
  });

  test("that can't be taken is told without a byte sent", async () => {
    const refused = [
      await upload.uploadLora(sized('a.ckpt', 9), options()),
      await upload.uploadLora(sized('a.safetensors', LARGEST_LORA + 1), options()),
      await upload.uploadImage(1, sized('a.png', LARGEST_IMAGE + 1), options()),
      await upload.uploadImage(1, sized('a.png', 9), options(AbortSignal.abort())),
    ];
    expect(refused.map((outcome) => 'error' in outcome && outcome.error.code)).toEqual([
      'UNSUPPORTED',
      'FILE_TOO_LARGE',
      'FILE_TOO_LARGE',
      'CANCELLED',
    ]);
    expect(sent).toBe(0);
  });
});

/** Nothing is shown here, so a state is its value. */
async function importQueue(): Promise<QueueModule> {
  const state = <T>(value: T): T => value;
  vi.stubGlobal('$state', Object.assign(state, { raw: state }));
  return (await import(source('state/upload-queue.svelte.ts'))) as QueueModule;
}

test('files that overtake each other are brought into their order, each place by itself, before it counts as done', async () => {
  const { UploadQueue } = await importQueue();
  const answers = new Map<string, PromiseWithResolvers<Uploaded>>();
  const arranged: unknown[] = [];
  const arranging = Promise.withResolvers<undefined>();
  const queue = new UploadQueue({
    atOnce: 3,
    send: ({ name }) => {
      const answer = Promise.withResolvers<Uploaded>();
      answers.set(name, answer);
      return answer.promise;
    },
    refresh: async () => undefined,
    arrange: (place, arrived) => {
      arranged.push([place, arrived]);
      return arranging.promise;
    },
  });
  queue.add([new File([], 'first'), new File([], 'bad')], 1);
  queue.add([new File([], 'other')], 2);
  for (const name of ['other', 'bad', 'first']) {
    expect([queue.isBusyFor(1), queue.isBusyFor(2), queue.isBusyFor(3)]).toEqual([true, true, false]);
    answers.get(name)?.resolve(name === 'bad' ? { error: { code: 'IMAGE_INVALID' } } : { hash: name });
    await new Promise((resolve) => setTimeout(resolve));
  }
  expect(arranged).toEqual([[1, [{ hash: 'first' }, { error: { code: 'IMAGE_INVALID' } }]]]);
  expect(queue.isBusyFor(1)).toBe(true);
  arranging.resolve(undefined);
  await expect.poll(() => [queue.isBusyFor(1), queue.isBusyFor(2)]).toEqual([false, false]);
  expect(arranged[1]).toEqual([2, [{ hash: 'other' }]]);
});

test('what is added after a stop, while the rest still ends, can be stopped by itself and its failure is told', async () => {
  const { UploadQueue } = await importQueue();
  const signals: AbortSignal[] = [];
  const sending = Promise.withResolvers<Uploaded>();
  const queue = new UploadQueue({
    atOnce: 1,
    send: (_file, _place, { signal }) => {
      signals.push(signal);
      return sending.promise;
    },
    refresh: async () => undefined,
  });
  const ending = Promise.withResolvers<AsyncIterable<never>>();
  const followed = queue.follow(1, 1, () => ending.promise);
  queue.stop();
  expect(queue.busy).toBe(true);
  expect(queue.isBusyFor(1)).toBe(true);
  queue.add([new File([], 'late.png')], 1);
  expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
  ending.reject(new Error('It was stopped.'));
  await followed;
  sending.resolve({ error: { code: 'DISK_FULL' } });
  await expect.poll(() => queue.failed.map(({ file }) => file)).toEqual(['late.png']);
  queue.add([new File([], 'later.png')], 1);
  queue.stop();
  expect(signals.at(-1)?.aborted).toBe(true);
  await expect.poll(() => queue.isBusyFor(1)).toBe(false);
});
