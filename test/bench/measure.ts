import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { COPY_STEP, type JobResult } from '../../main/contract/engine.ts';
import { watchProcesses, type Usage } from './process-watch.ts';

const command = fileURLToPath(new URL('../../build/i2l.mjs', import.meta.url));

/** What was used is of the command's process and all below it. */
export interface Measured extends Usage {
  readonly result: JobResult;
  /** Seconds, from the command's start to its end. */
  readonly wall: number;
}

/** Runs the command line as a user does, and measures it from outside. */
export async function measured(args: readonly string[]): Promise<Measured> {
  const started = performance.now();
  const child = spawn(process.execPath, [command, ...args, '--device', 'cpu', '--json'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const watch = watchProcesses(child.pid ?? 0);
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  const [code] = (await once(child, 'close')) as [number];
  const wall = (performance.now() - started) / 1000;
  const usage = watch.stop();
  const last = out.trim().split('\n').at(-1) ?? '';
  if (code !== 0) throw new Error(last);
  return { result: JSON.parse(last) as JobResult, wall, ...usage };
}

export function judge(what: string, value: number, bar: number, sense: 'at most' | 'at least'): void {
  const pass = sense === 'at most' ? value <= bar : value >= bar;
  console.log(`${what}: ${value.toFixed(3)} (bar: ${sense} ${bar}) ${pass ? 'pass' : 'SHORT'}`);
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}

/** Copies of encoders in 8 bits that a job made first. */
export function tellCopies({ result }: Measured): void {
  for (const { network, seconds, weightBytes } of result.networks.filter(({ network: name }) => name.endsWith(COPY_STEP)))
    console.log(`  ${network}: ${seconds.toFixed(1)} s, ${(weightBytes / seconds / 1e9).toFixed(2)} GB/s, once`);
}
