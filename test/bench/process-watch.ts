import { readdirSync, readFileSync } from 'node:fs';

/**
 * Highest resident memory of a process and all below it, together, and their CPU time. Each one's own high-water
 * mark (VmHWM) is sampled until it ends; their sum is never below the true peak of the sum. Linux only.
 */
export interface ProcessWatch {
  stop(): Usage;
}

export interface Usage {
  /** Bytes. */
  readonly peak: number;
  /** Of user and system together; what a process takes after its last sample is not in it. */
  readonly cpuSeconds: number;
}

const SAMPLE_MS = 20;
/** To look for new processes takes ten times as long as to look at one: a core would be some percent slower all along. */
const SAMPLES_A_SEARCH = 5;

export function watchProcesses(root: number): ProcessWatch {
  const marks = new Map<number, Usage>();
  let tree: readonly number[] = [];
  let samples = 0;
  const sample = (): void => {
    if (samples++ % SAMPLES_A_SEARCH === 0) tree = treeOf(root);
    for (const pid of tree) {
      const { peak, cpuSeconds } = marks.get(pid) ?? { peak: 0, cpuSeconds: 0 };
      marks.set(pid, { peak: Math.max(peak, highWater(pid)), cpuSeconds: Math.max(cpuSeconds, cpuTime(pid)) });
    }
  };
  const timer = setInterval(sample, SAMPLE_MS);
  return {
    stop: () => {
      clearInterval(timer);
      const sum = (of: (usage: Usage) => number): number => [...marks.values()].reduce((total, usage) => total + of(usage), 0);
      return { peak: sum(({ peak }) => peak), cpuSeconds: sum(({ cpuSeconds }) => cpuSeconds) };
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

/** Ticks of a hundredth of a second, the fields utime and stime behind the name in brackets. */
function cpuTime(pid: number): number {
  const stat = orElse(() => readFileSync(`/proc/${pid}/stat`, 'utf8'), '');
  const [utime = 0, stime = 0] = stat.slice(stat.lastIndexOf(')') + 2).split(' ').slice(11, 13).map(Number); // prettier-ignore
  return (utime + stime) / 100;
}

/** A process may end between two looks. */
function orElse<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}
