import type { JobView } from '../contract/queue.ts';

type Place = Pick<JobView, 'id' | 'priority' | 'position'>;

/** The order in which jobs run: highest priority, lowest position; ids settle what is left. */
export function compareJobs(a: Place, b: Place): number {
  return b.priority - a.priority || a.position - b.position || a.id - b.id;
}

/**
 * Puts one job before another, or last of all.
 * @param jobs all that may be moved, in any order; `id` and `before` are among them
 * @returns the places that change. The job takes its neighbour's priority, and the jobs of that priority
 * share out the positions that they had, so nothing else moves.
 */
export function planMove(jobs: readonly Place[], id: number, before: number | null): Place[] {
  const moved = jobs.find((job) => job.id === id);
  const others = jobs.filter((job) => job.id !== id).sort(compareJobs);
  const neighbour = before === null ? others.at(-1) : others.find((job) => job.id === before);
  if (!moved || !neighbour) return [];
  const group = others.filter(({ priority }) => priority === neighbour.priority);
  group.splice(before === null ? group.length : group.indexOf(neighbour), 0, moved);
  const positions = group.map(({ position }) => position).sort((a, b) => a - b);
  return group
    .map((job, i) => ({ job, place: { id: job.id, priority: neighbour.priority, position: positions[i] ?? job.position } }))
    .filter(({ job, place }) => job.priority !== place.priority || job.position !== place.position)
    .map(({ place }) => place);
}
