import { hasEnded, type JobView, type QueueEvent } from '../../../main/contract/queue.ts';

/** The queue as the contract's stream tells it. */
export type Jobs = ReadonlyMap<number, JobView>;

export function applyEvent(jobs: Jobs, event: QueueEvent): Jobs {
  if (event.type === 'snapshot') return new Map(event.jobs.map((job) => [job.id, job]));
  const next = new Map(jobs);
  for (const job of event.jobs) next.set(job.id, job);
  for (const id of event.removed) next.delete(id);
  return next;
}

export interface Sections {
  /** Also those that are being stopped. */
  readonly running: readonly JobView[];
  /** In the order in which they will run. */
  readonly waiting: readonly JobView[];
  /** The latest first. */
  readonly finished: readonly JobView[];
}

export function sectionsOf(jobs: Jobs): Sections {
  const all = [...jobs.values()];
  const isWaiting = ({ state }: JobView): boolean => state === 'waiting' || state === 'paused';
  return {
    running: all.filter((job) => !isWaiting(job) && !hasEnded(job.state)).sort((a, b) => a.id - b.id),
    waiting: all.filter(isWaiting).sort((a, b) => b.priority - a.priority || a.position - b.position),
    finished: all.filter(({ state }) => hasEnded(state)).sort((a, b) => (b.finishedAt ?? 0) - (a.finishedAt ?? 0) || b.id - a.id),
  };
}

/** Where a waiting job goes when it is moved by some places: before this one; null is the end, undefined is nowhere. */
export function placeBefore(waiting: readonly JobView[], id: number, by: number): number | null | undefined {
  const from = waiting.findIndex((job) => job.id === id);
  const to = Math.max(0, Math.min(waiting.length - 1, from + by));
  if (from < 0 || to === from) return undefined;
  const others = waiting.filter((job) => job.id !== id);
  return others[to]?.id ?? null;
}
