import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive } from '../../main/weights/stale-files.ts';

/** A job under test lasts as long as the test needs: its engine is stopped in the middle, as by Ctrl-Z, and goes on when it is told to. */

const PART = /^(.*)\.(\d+)-\d+\.i2l-part$/;
const LONGEST_WAIT_MS = 45_000;

export interface HalfWritten {
  /** Of the file that it is to be. */
  readonly name: string;
  /** Of the process that writes it. */
  readonly pid: number;
}

/** Files in a folder that are being written. */
export function halfWrittenIn(folder: string): HalfWritten[] {
  return readdirSync(folder).flatMap((file) => {
    const [, name, pid] = PART.exec(file) ?? [];
    return name === undefined ? [] : [{ name, pid: Number(pid) }];
  });
}

/** An engine in the middle of its file. */
export class HeldEngine {
  readonly #pid: number;

  constructor(pid: number) {
    this.#pid = pid;
  }

  /** Does nothing where it goes on already, or is dead. */
  goOn(): void {
    if (isAlive(this.#pid)) process.kill(this.#pid, 'SIGCONT');
  }

  /** As the system does where memory runs out. */
  kill(): void {
    process.kill(this.#pid, 'SIGKILL');
  }
}

/**
 * Begins a job, stops its engine as soon as a file is half written in a folder, and lets it go after the work at the latest.
 */
export async function withHeldEngine(
  folder: string,
  begin: () => Promise<void>,
  work: (engine: HeldEngine) => Promise<void>,
): Promise<void> {
  const failed = new AbortController();
  const begun = begin().catch((error: unknown) => {
    failed.abort();
    throw error;
  });
  const [held] = await Promise.allSettled([hold(folder, failed.signal), begun]);
  try {
    await begun;
    if (held.status === 'rejected') throw held.reason;
    await work(held.value);
  } finally {
    // Else the app would wait for it for ever.
    if (held.status === 'fulfilled') held.value.goOn();
  }
}

async function hold(folder: string, signal: AbortSignal): Promise<HeldEngine> {
  for (const until = Date.now() + LONGEST_WAIT_MS; Date.now() < until; await sleep(2, undefined, { signal })) {
    const [part] = halfWrittenIn(folder);
    if (!part) continue;
    process.kill(part.pid, 'SIGSTOP');
    const engine = new HeldEngine(part.pid);
    if (halfWrittenIn(folder).some(({ pid }) => pid === part.pid)) return engine;
    engine.goOn();
    throw new Error(`${part.name} was whole before its engine was held.`);
  }
  throw new Error(`Nothing was written into ${folder} in ${LONGEST_WAIT_MS / 1000} s.`);
}
