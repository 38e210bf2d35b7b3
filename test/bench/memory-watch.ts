import { readdirSync, readFileSync } from 'node:fs';

/**
 * Highest resident memory of a process and all below it, together. Each one's own high-water mark (VmHWM)
 * is sampled until it ends; their sum is never below the true peak of the sum. Linux only.
 */
export interface MemoryWatch {
  /** Bytes. */
  stop(): number;
}

const SAMPLE_MS = 20;

export function watchMemory(root: number): MemoryWatch {
  const marks = new Map<number, number>();
  const sample = (): void => {
    for (const pid of treeOf(root)) marks.set(pid, Math.max(marks.get(pid) ?? 0, highWater(pid)));
  };
  const timer = setInterval(sample, SAMPLE_MS);
  return {
    stop: () => {
      clearInterval(timer);
      return [...marks.values()].reduce((sum, bytes) => sum + bytes, 0);
    },
  };
}

/** A process and its descendants, by the kernel's own lists. */
function treeOf(pid: number): number[] {
  return [pid, ...childrenOf(pid).flatMap(treeOf)];
}

function childrenOf(pid: number): number[] {
  return orElse(() => readdirSync(`/proc/${pid}/task`), []).flatMap((task) =>
    orElse(() => readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8'), '')
      .split(' ')
      .filter((child) => child !== '')
      .map(Number),
  );
}

function highWater(pid: number): number {
  const status = orElse(() => readFileSync(`/proc/${pid}/status`, 'utf8'), '');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
}

/** A process may end between two looks. */
function orElse<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}
