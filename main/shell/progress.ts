import { Notification, type BrowserWindow } from 'electron';
import type { JobView, QueueEvent } from '../contract/queue.ts';
import type { EndWords } from './words.ts';

const HIDDEN = -1;
/** More than 1 shows a bar of no length where the system can. */
const UNKNOWN = 2;

/**
 * Shows the queue's running job in the taskbar, and tells of ended ones while the window is out of sight.
 * @param words in the user's language, asked each time: it may change meanwhile
 */
export async function followQueue(events: AsyncIterable<QueueEvent>, window: BrowserWindow, words: () => EndWords): Promise<void> {
  const jobs = new Map<number, JobView>();
  for await (const event of events) {
    if (window.isDestroyed()) return;
    const before = new Map(jobs);
    for (const job of event.jobs) jobs.set(job.id, job);
    if (event.type === 'change') for (const id of event.removed) jobs.delete(id);
    window.setProgressBar(barOf([...jobs.values()]));
    if (event.type === 'snapshot' || window.isFocused()) continue;
    for (const job of event.jobs) if (hasJustEnded(job, before.get(job.id))) tell(job, window, words());
  }
}

function barOf(jobs: readonly JobView[]): number {
  const running = jobs.find(({ state, lane }) => state === 'running' && lane === 'engine');
  return running ? (running.progress?.fraction ?? UNKNOWN) : HIDDEN;
}

function hasJustEnded({ state }: JobView, before: JobView | undefined): boolean {
  return (state === 'done' || state === 'failed') && before?.state !== state;
}

function tell(job: JobView, window: BrowserWindow, words: EndWords): void {
  if (!Notification.isSupported()) return;
  const notification = new Notification({ title: job.title, body: words(job) });
  notification.on('click', () => window.show());
  notification.show();
}
