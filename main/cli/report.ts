import type { EngineEvent, JobProgress, JobResult } from '../contract/engine.ts';
import type { ErrorFields, I2lError } from '../contract/errors.ts';
import { formatBytes } from '../contract/format-bytes.ts';

/**
 * How a command speaks. Results go to stdout, everything else to stderr; with --json each event is one
 * object a line on stdout, and nothing else is printed there.
 */
export interface Report {
  event(event: EngineEvent): void;
  /** What a command itself has to say on its way, one sentence. */
  remark(message: string): void;
  /** Work that goes on outside the engine: how far it is, in words for people, or as an object for programs. */
  working(work: Work, object: object): void;
  /** A result in words for people, or as an object for programs. */
  result(words: string, object: object): void;
  error(error: I2lError): void;
}

export interface Work {
  /** What is worked on; without a terminal, a line is printed when it changes. */
  readonly step: string;
  readonly share: number;
  /** Speed, time left … */
  readonly words: string;
}

export interface ReportOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function makeReport({ json = false, quiet = false }: ReportOptions): Report {
  if (json) return jsonReport();
  return quiet ? quietReport() : process.stderr.isTTY ? barReport() : lineReport();
}

function jsonReport(): Report {
  const print = (object: object): void => void process.stdout.write(`${JSON.stringify(object)}\n`);
  return {
    event: print,
    remark: (message) => print({ type: 'remark', message }),
    working: (_work, object) => print(object),
    result: (_words, object) => print(object),
    error: (error) => print({ type: 'failed', error: error.toShape() }),
  };
}

function quietReport(): Report {
  return { event: () => undefined, remark: () => undefined, working: () => undefined, result: () => undefined, error: printError };
}

/** Where there is no terminal: a line when a step begins. */
function lineReport(): Report {
  let step = '';
  return {
    event: (event) => {
      const words = sideWords(event);
      if (words !== undefined) printLine(words);
      if (event.type !== 'progress' || event.step === step) return;
      step = event.step;
      const images = event.images > 1 ? `, ${event.images} images` : '';
      printLine(`${step}: stage ${event.stageIndex} of ${event.stageCount}${images}`);
    },
    remark: printLine,
    working: (work) => {
      if (work.step === step) return;
      step = work.step;
      printLine(step);
    },
    result: (words) => void process.stdout.write(`${words}\n`),
    error: printError,
  };
}

/** A bar on the terminal's last line, redrawn at most ten times a second. */
function barReport(): Report {
  let drawn = 0;
  const clear = (): void => void process.stderr.write('\r\x1b[K');
  const columns = (): number => process.stderr.columns || 100; // Some terminals say 0.
  const draw = (line: string): void => {
    if (Date.now() - drawn < 100) return;
    drawn = Date.now();
    clear();
    process.stderr.write(line);
  };
  const remark = (line: string): void => {
    clear();
    printLine(line);
  };
  return {
    event: (event) => {
      const words = sideWords(event);
      if (words !== undefined) remark(words);
      if (event.type === 'progress') draw(progressLine(event, columns()));
    },
    remark,
    working: ({ share, step, words }) => draw(fitted(`${bar(share)} ${step}  ${words}`, columns())),
    result: (words) => {
      clear();
      process.stdout.write(`${words}\n`);
    },
    error: (error) => {
      clear();
      printError(error);
    },
  };
}

/** What is told on the way, a line each. A lone LoRA is told at the end, with its costs. */
function sideWords(event: EngineEvent): string | undefined {
  if (event.type === 'note') return event.message;
  if (event.type === 'set-failed')
    return [`Not made: ${event.output}: ${event.error.message}`, ...refusedLines(event.error.fields)].join('\n');
  return undefined;
}

/** E.g. '[#####-----] dinov3  stage 52 of 164  812 MB/s  about 0:41 left' */
export function progressLine(progress: JobProgress, columns = 100): string {
  const { bytesDone, bytesTotal, step, stageIndex, stageCount, bytesPerSecond, etaSeconds } = progress;
  const speed = `${formatBytes(bytesPerSecond)}/s`;
  const line = `${bar(bytesTotal > 0 ? bytesDone / bytesTotal : 0)} ${step}  stage ${stageIndex} of ${stageCount}  ${speed}  about ${formatDuration(etaSeconds)} left`;
  return fitted(line, columns);
}

function bar(share: number): string {
  const width = 24;
  const filled = Math.round(width * Math.min(1, Math.max(0, share)));
  return `[${'#'.repeat(filled)}${'-'.repeat(width - filled)}]`;
}

function fitted(line: string, columns: number): string {
  return line.slice(0, Math.max(20, columns - 1));
}

export function resultWords(result: JobResult): string {
  const what = describeResult(result);
  const cost = `read ${formatBytes(result.weightBytes)} of weights, peak memory ${formatBytes(result.peakMemory)}, on ${result.device}`;
  const failed = result.failedSets ? `, ${counted(result.failedSets, 'image set')} could not be made` : '';
  const head = result.output ?? `${counted(result.loras ?? 0, 'LoRA')}${failed}`;
  return `${head}\n  ${formatBytes(result.bytes ?? 0)}, ${what}; ${result.seconds.toFixed(1)} s, ${cost}`;
}

function describeResult({ rank, modules, images, kept, worstKept, loras, cached }: JobResult): string {
  const parts = [
    rank === undefined ? undefined : `rank ${rank}`,
    modules === undefined ? undefined : `${modules} modules`,
    loras !== undefined ? `${images ?? 0} images` : undefined,
    rank === undefined && loras === undefined && images !== undefined ? `embeddings of ${counted(images, 'image')}` : undefined,
    cached ? `${cached} embeddings from the cache` : undefined,
    kept === undefined ? undefined : `keeps ${percent(kept)} of the norm (worst module ${percent(worstKept ?? kept)})`,
  ];
  return parts.filter((part) => part !== undefined).join(', ');
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(share > 0.999 ? 3 : 1)} %`;
}

/** '1 image', '3 images' */
export function counted(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}

export function formatDuration(seconds: number): string {
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  const two = (value: number): string => String(value).padStart(2, '0');
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

function printLine(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Files and folders that an error is about, a line each. */
function refusedLines({ refused, installs }: ErrorFields): string[] {
  return [refused, installs].flatMap((list) => (Array.isArray(list) ? list.map((line) => `  ${String(line)}`) : []));
}

function printError(error: I2lError): void {
  printLine(`i2l: ${error.message}`);
  for (const line of refusedLines(error.fields)) printLine(line);
}
