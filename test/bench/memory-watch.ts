import { readFileSync } from 'node:fs';

/**
 * Highest resident memory of this process and the ones it watches, together. On Linux the kernel's own
 * high-water marks (VmHWM) are read just before a process ends and sampled on the way; their sum is never
 * below the true peak of the sum.
 */
export interface MemoryWatch {
  add(pid: number): void;
  stop(): number;
}

const SAMPLE_MS = 20;

export function startMemoryWatch(): MemoryWatch {
  const marks = new Map<number, number>();
  const sample = (): void => {
    for (const pid of [process.pid, ...marks.keys()]) {
      const mark = highWater(pid);
      if (mark !== undefined) marks.set(pid, Math.max(marks.get(pid) ?? 0, mark));
    }
  };
  const timer = setInterval(sample, SAMPLE_MS);
  return {
    add: (pid) => void marks.set(pid, 0),
    stop: () => {
      sample();
      clearInterval(timer);
      return [...marks.values()].reduce((sum, bytes) => sum + bytes, 0);
    },
  };
}

function highWater(pid: number): number | undefined {
  try {
    const kilobytes = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
  } catch {
    return undefined; // It has ended; its last mark stays.
  }
}
