import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { mulberry32 } from '../../main/weights/synthetic.ts';

/** Processes and what they leave behind, for tests that kill them. */

/** Ids of a process's children. */
export function childrenOf(pid: number): number[] {
  const listing = `/proc/${pid}/task/${pid}/children`;
  const text = existsSync(listing)
    ? readFileSync(listing, 'utf8')
    : spawnSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' }).stdout;
  return text.split(/\s+/).filter(Boolean).map(Number);
}

/** True once it runs no more, whether or not its parent has taken note. */
export function hasEnded(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return true;
  }
  try {
    return /^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return process.platform === 'linux'; // It went in between; elsewhere there is no such file.
  }
}

/** @returns milliseconds until `condition` held; more than `limit` if it never did */
export async function until(condition: () => boolean, limit: number): Promise<number> {
  const started = performance.now();
  while (!condition() && performance.now() - started <= limit) await setTimeout(2);
  return performance.now() - started;
}

export function partsIn(folder: string): string[] {
  return readdirSync(folder).filter((name) => name.endsWith('.i2l-part'));
}

/** `count` moments, one at random in each of as many equal slices of `duration`; the same for the same seed. */
export function moments(count: number, duration: number, seed: number): number[] {
  const next = mulberry32(seed);
  return Array.from({ length: count }, (_, i) => (duration * (i + next())) / count);
}
