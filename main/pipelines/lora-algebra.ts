import type { JobResult } from '../contract/engine.ts';
import {
  isHeavy,
  performTask,
  taskBytes,
  taskKernels,
  taskPath,
  type Kind,
  type Results,
  type SentTask,
  type Tasks,
} from '../networks/lora-tasks.ts';
import { goOn } from '../offload/group.ts';
import { kernelBytes, kernelKey, Kernels } from '../offload/kernels.ts';
import { memoryRefusal } from '../offload/shortfall.ts';
import { Threads } from '../offload/threads.ts';
import { ENGINE_BASELINE_BYTES } from './baseline.ts';
import { threadsOf, type PipelineContext } from './context.ts';

/** A pass over a LoRA's modules. */
export interface LoraPass<K extends Kind = Kind> {
  readonly kind: K;
  /** One a module. */
  readonly tasks: readonly Tasks[K][];
}

/** Progress is told so often; a module takes about a millisecond. */
const TOLD_EVERY_MS = 50;
/** To start a thread takes as long as the work on so many bytes. */
const BYTES_PER_THREAD = 32 << 20;
/** Node and the runtime, once more for each thread. */
const THREAD_BYTES = 48 << 20;
/** And factors that the garbage collector has not given back yet (measured: up to 60 MiB). */
const BASELINE_BYTES = ENGINE_BASELINE_BYTES + (64 << 20);
/** Modules that are asked for ahead, for each thread: one is worked on, one waits. */
const AHEAD = 2;
/** A guess of the factors' bytes that two cores work through; see test/bench/RESULTS.md. */
const BYTES_PER_SECOND = 1e8;

/**
 * Runs LoRA algebra module by module on the CPU: memory follows the largest module, not the file. A job's
 * passes are all known before the first one runs, so that a budget that can't work is refused at once.
 */
export class LoraAlgebra {
  readonly #context: PipelineContext;
  readonly #workers: Workers;
  readonly #total: { readonly tasks: number; readonly bytes: number };
  /** Bytes read, by pass. */
  readonly #work: readonly { readonly step: Kind; done: number; readonly total: number }[];
  readonly #started = performance.now();
  #done = { tasks: 0, bytes: 0 };
  #told = 0;

  /** @throws I2lError MEMORY_BUDGET */
  constructor(context: PipelineContext, job: { readonly threads: number; readonly memory: number }, passes: readonly LoraPass[]) {
    const peak = peakOf(passes);
    const smallest = BASELINE_BYTES + peak.bytes;
    if (smallest > job.memory) {
      const { step: network, module: stage } = peak;
      throw memoryRefusal([{ of: { network, stage }, smallest, budget: job.memory, option: '--memory' }]);
    }
    this.#work = passes.map((pass) => ({ step: pass.kind, done: 0, total: bytesOf(pass) }));
    const bytes = this.#work.reduce((sum, { total }) => sum + total, 0);
    const heavyBytes = this.#work.reduce((sum, { step, total }) => sum + (isHeavy(step) ? total : 0), 0);
    const fits = Math.floor((job.memory - BASELINE_BYTES) / (THREAD_BYTES + AHEAD * peak.bytes));
    this.#context = context;
    this.#workers = startWorkers(Math.min(threadsOf(job.threads), fits, Math.floor(heavyBytes / BYTES_PER_THREAD)));
    this.#total = { tasks: passes.reduce((sum, { tasks }) => sum + tasks.length, 0), bytes };
  }

  /**
   * Performs a pass. @param sink takes the results in the order of the tasks
   * @throws I2lError CANCELLED between two tasks, or what a task or the sink throws
   */
  async run<K extends Kind>(pass: LoraPass<K>, sink: (result: Results[K], at: number) => void): Promise<void> {
    const taken: Promise<void>[] = [];
    let before: Promise<void> = Promise.resolve();
    for (const [at, sent] of sentTasks(pass).entries()) {
      await taken[at - this.#workers.ahead];
      await goOn(this.#context);
      before = inOrder(before, this.#workers.perform(sent), (result) => {
        sink(result as Results[K], at);
        this.#tell(sent);
      });
      taken.push(before);
    }
    await before;
  }

  /** What every result says of the run. */
  summary(): Pick<JobResult, 'device' | 'seconds' | 'weightBytes' | 'peakMemory' | 'networks'> {
    const seconds = (performance.now() - this.#started) / 1000;
    return {
      device: 'cpu',
      seconds,
      weightBytes: this.#done.bytes,
      peakMemory: process.resourceUsage().maxRSS * 1024,
      networks: [],
    };
  }

  async close(): Promise<void> {
    await this.#workers.close();
  }

  #tell(sent: SentTask): void {
    const read = taskBytes(sent);
    this.#done = { tasks: this.#done.tasks + 1, bytes: this.#done.bytes + read };
    const own = this.#work.find(({ step }) => step === sent.kind);
    if (own) own.done += read;
    const { tasks, bytes: bytesDone } = this.#done;
    const elapsed = performance.now() - this.#started;
    if (elapsed - this.#told < TOLD_EVERY_MS && tasks < this.#total.tasks) return;
    this.#told = elapsed;
    this.#context.emit({
      type: 'progress',
      step: sent.kind,
      stage: taskPath(sent),
      stageIndex: tasks,
      stageCount: this.#total.tasks,
      bytesDone,
      bytesTotal: this.#total.bytes,
      bytesPerSecond: (1000 * bytesDone) / Math.max(elapsed, 1),
      images: 1,
      etaSeconds: (elapsed / 1000 / bytesDone) * (this.#total.bytes - bytesDone),
      device: 'cpu',
      work: this.#work.map(({ step, done, total }) => ({ step, done: done / BYTES_PER_SECOND, total: total / BYTES_PER_SECOND })),
    });
  }
}

/** Takes a result once all before it are taken. A failure that nobody waits for yet is not an unhandled one. */
function inOrder(before: Promise<void>, result: Promise<unknown>, take: (result: unknown) => void): Promise<void> {
  const taken = Promise.all([result, before]).then(([ready]) => take(ready));
  taken.catch(() => undefined);
  return taken;
}

interface Workers {
  /** Tasks that are asked for before the first of them is taken. */
  readonly ahead: number;
  readonly perform: (sent: SentTask) => Promise<unknown>;
  readonly close: () => Promise<void>;
}

/** Below two threads the work is done here. */
function startWorkers(count: number): Workers {
  if (count < 2) {
    const kernels = new Kernels({ device: 'cpu', threads: 1 });
    return { ahead: 1, perform: (sent) => performTask(sent, kernels), close: () => kernels.close() };
  }
  const threads = new Threads(new URL('../networks/lora-thread.ts', import.meta.url), count);
  return { ahead: AHEAD * count, perform: (sent) => threads.perform(sent), close: () => threads.close() };
}

interface Peak {
  readonly bytes: number;
  readonly step: string;
  readonly module: string;
}

/** Modules of the same shapes take the same, so each kind of kernel is looked at once. */
function peakOf(passes: readonly LoraPass[]): Peak {
  const seen = new Set<string>();
  let worst: Peak = { bytes: 0, step: '', module: '' };
  for (const sent of passes.flatMap(sentTasks)) {
    for (const kernel of taskKernels(sent)) {
      const key = kernelKey(kernel);
      if (seen.has(key)) continue;
      seen.add(key);
      const bytes = kernelBytes(kernel);
      if (bytes > worst.bytes) worst = { bytes, step: sent.kind, module: taskPath(sent) };
    }
  }
  return worst;
}

function bytesOf(pass: LoraPass): number {
  return sentTasks(pass).reduce((sum, sent) => sum + taskBytes(sent), 0);
}

function sentTasks<K extends Kind>({ kind, tasks }: LoraPass<K>): SentTask<K>[] {
  return tasks.map((task) => ({ kind, task }));
}
