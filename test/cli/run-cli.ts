import { spawn, type ChildProcess } from 'node:child_process';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { z } from 'zod';
import { eventSchema, type EngineEvent, type JobResult } from '../../main/contract/engine.ts';
import type { ErrorCode } from '../../main/contract/errors.ts';
import { tempFolder } from '../unit/temp.ts';

/** Drives the real command line as its users do: a process, its arguments, what it prints, how it ends. */
const entry = fileURLToPath(new URL('../../main/cli.ts', import.meta.url));

export interface CliRun {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** A process group of its own, so that a signal can be sent to all of it, as a terminal does. */
  readonly detached?: boolean;
  /** POSIX: runs as this user. */
  readonly uid?: number;
}

/** Compiled modules are kept between runs, which halves a short run's time; it is Node's own place for them. */
export const childEnv: NodeJS.ProcessEnv = {
  ...process.env,
  NODE_COMPILE_CACHE: join(tmpdir(), 'node-compile-cache'),
  // None of them may reach another machine.
  NODE_OPTIONS: `${process.env['NODE_OPTIONS'] ?? ''} --import ${new URL('../no-network.ts', import.meta.url).href}`,
  // Nobody's library, and nobody's embeddings from an earlier run.
  I2L_HOME: tempFolder(),
};

export function startCli(args: readonly string[], { env, uid, ...options }: CliOptions = {}): ChildProcess {
  return spawn(process.execPath, [entry, ...args], {
    ...options,
    ...(uid === undefined ? {} : { uid, gid: uid }),
    env: { ...childEnv, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

export async function runCli(args: readonly string[], options?: CliOptions): Promise<CliRun> {
  return inTurn(() => endOf(startCli(args, options)));
}

export function endOf(child: ChildProcess): Promise<CliRun> {
  const text = { stdout: '', stderr: '' };
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (text.stdout += chunk));
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (text.stderr += chunk));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, ...text }));
  });
}

/** Tests run side by side; as many processes as cores. */
const waiting: (() => void)[] = [];
let free = Math.max(2, availableParallelism());

async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (free === 0) await new Promise<void>((resolve) => waiting.push(resolve));
  else free--;
  try {
    return await work();
  } finally {
    const next = waiting.shift();
    if (next) next();
    else free++;
  }
}

const identitySchema = z.strictObject({
  type: z.literal('identity'),
  file: z.string(),
  id: z.string().optional(),
  network: z.string().optional(),
  title: z.string(),
  fingerprint: z.string().regex(/^[0-9a-f]{32}$/),
  tensors: z.int(),
  parameters: z.int(),
  bytes: z.int(),
  dtypes: z.array(z.string()),
  synthetic: z.boolean(),
});

const planSchema = z.strictObject({
  type: z.literal('plan'),
  networks: z.array(
    z.strictObject({
      network: z.string(),
      id: z.string(),
      stages: z.int(),
      runs: z.int(),
      imagesPerRun: z.int(),
      weightBytes: z.int(),
      peakBytes: z.int(),
      flops: z.number(),
      passes: z.int(),
      seconds: z.number(),
    }),
  ),
  images: z.int(),
  weightBytes: z.int(),
  peakBytes: z.int(),
  seconds: z.number(),
  rank: z.int(),
  modules: z.int(),
  outputBytes: z.int(),
  residentBytes: z.int(),
  copies: z.array(z.strictObject({ of: z.string(), bytes: z.int() })),
});

export type Identity = z.infer<typeof identitySchema>;
export type Plan = z.infer<typeof planSchema>;
const batchSchema = z.strictObject({ type: z.literal('batch'), sets: z.int(), finished: z.int() });
/** What the command itself remarks: a job's notes have a code. */
const remarkSchema = z.strictObject({ type: z.literal('remark'), message: z.string() });

type Line = EngineEvent | Identity | Plan | z.infer<typeof batchSchema | typeof remarkSchema>;

/** stdout of a --json run: every line an object that the contract knows, the last one ended, and nothing else. */
export function jsonLines({ stdout }: CliRun): Line[] {
  if (stdout === '') return [];
  expect(stdout.endsWith('\n'), 'the last line is whole').toBe(true);
  return stdout
    .slice(0, -1)
    .split('\n')
    .map((line) => {
      const value = JSON.parse(line) as { type?: unknown };
      if (value.type === 'identity') return identitySchema.parse(value);
      if (value.type === 'plan') return planSchema.parse(value);
      if (value.type === 'batch') return batchSchema.parse(value);
      if (value.type === 'remark') return remarkSchema.parse(value);
      return eventSchema.parse(value);
    });
}

export function linesOf<Type extends Line['type']>(run: CliRun, type: Type): Extract<Line, { type: Type }>[] {
  return jsonLines(run).filter((line): line is Extract<Line, { type: Type }> => line.type === type);
}

/** The result of a --json run that must have worked. */
export function doneOf(run: CliRun): JobResult {
  expect(run.code, run.stdout + run.stderr).toBe(0);
  expect(run.stderr).toBe('');
  const results = linesOf(run, 'done');
  expect(results).toHaveLength(1);
  expect(jsonLines(run).at(-1), 'the result comes last').toEqual(results[0]);
  return results[0] as JobResult;
}

type Failure = Extract<EngineEvent, { type: 'failed' }>['error'];

/** The error of a --json run that must have failed, with this code and exit code. */
export function failureOf(run: CliRun, code: ErrorCode, exitCode = 1): Failure {
  const [failed, ...others] = linesOf(run, 'failed');
  expect({ code: failed?.error.code, exitCode: run.code }, run.stdout + run.stderr).toEqual({ code, exitCode });
  expect(others).toEqual([]);
  expect(run.stderr).toBe('');
  expect(failed?.error.message, 'one line').not.toContain('\n');
  return failed?.error as Failure;
}
