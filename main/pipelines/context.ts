import { availableParallelism } from 'node:os';
import type { EngineEvent, JobResult } from '../contract/job.ts';
import { I2lError } from '../contract/errors.ts';
import type { SessionOptions } from '../onnx/runtime.ts';
import { runNetwork, type NetworkRun } from '../offload/executor.ts';
import { planNetwork, type NetworkPlan } from '../offload/planner.ts';
import { ProgressMeter } from '../offload/progress.ts';
import { Reader } from '../offload/reader.ts';
import { stageCosts, type Stage, type StageCost } from '../offload/stage.ts';
import { Trace } from '../offload/trace.ts';

/**
 * What the engine's process takes before any stage: Node, onnxruntime and sharp loaded (measured on
 * Linux x64: 150 to 190 MB), and results that the garbage collector has not yet given back (up to 130 MB).
 */
export const ENGINE_BASELINE_BYTES = 320 << 20;

/** What every pipeline is given: how to speak to the user, and when to stop. */
export interface PipelineContext {
  readonly emit: (event: EngineEvent) => void;
  readonly signal: AbortSignal;
}

/** A network that is ready to be planned: its stages with what they cost. */
export interface PreparedNetwork {
  /** What progress and results call it: 'siglip2', 'dinov3', 'style' … */
  readonly name: string;
  readonly stages: readonly Stage[];
  readonly costs: readonly StageCost[];
  readonly wholeBatch: boolean;
}

export function prepare(name: string, stages: readonly Stage[], wholeBatch: boolean): PreparedNetwork {
  return { name, stages, costs: stageCosts(stages), wholeBatch };
}

/** @throws I2lError MEMORY_BUDGET */
function planFor({ name, costs, wholeBatch }: PreparedNetwork, images: number, memory: number): NetworkPlan {
  return planNetwork({ network: name, costs, images, budget: memory, baseline: ENGINE_BASELINE_BYTES, wholeBatch });
}

/**
 * Plans all of a job's networks.
 * @throws I2lError MEMORY_BUDGET of the one that needs most, so that the budget it names is enough for all
 */
export function planAll(
  networks: readonly PreparedNetwork[],
  images: number,
  memory: number,
): ReadonlyMap<PreparedNetwork, NetworkPlan> {
  const plans = new Map<PreparedNetwork, NetworkPlan>();
  const refused: I2lError[] = [];
  for (const network of networks) {
    try {
      plans.set(network, planFor(network, images, memory));
    } catch (error) {
      refused.push(I2lError.from(error));
    }
  }
  const [worst] = refused.sort((a, b) => smallestOf(b) - smallestOf(a));
  if (worst) throw worst;
  return plans;
}

/** Anything but a budget's refusal goes first. */
function smallestOf({ code, fields }: I2lError): number {
  return code === 'MEMORY_BUDGET' ? Number(fields['smallest']) : Number.POSITIVE_INFINITY;
}

export function threadsOf(wanted: number): number {
  return wanted === 0 ? availableParallelism() : wanted;
}

type RunPart = Pick<NetworkRun, 'load' | 'sink'>;

/**
 * Runs a job's networks one after another over one reader thread, one trace and one progress count.
 * Everything is planned before anything runs, so that a budget that can't work is refused at once.
 */
export class NetworkRunner {
  readonly #context: PipelineContext;
  readonly #session: SessionOptions;
  readonly #plans: ReadonlyMap<PreparedNetwork, NetworkPlan>;
  readonly #meter: ProgressMeter;
  readonly #trace = new Trace();
  readonly #reader: Reader;

  constructor(
    context: PipelineContext,
    session: SessionOptions,
    networks: readonly PreparedNetwork[],
    images: number,
    memory: number,
  ) {
    this.#context = context;
    this.#session = session;
    this.#plans = planAll(networks, images, memory);
    this.#meter = new ProgressMeter([...this.#plans.values()]);
    // Last: a constructor that throws leaves nobody to close it.
    this.#reader = new Reader(this.#trace);
  }

  async run(network: PreparedNetwork, { load, sink }: RunPart): Promise<void> {
    const plan = this.#plans.get(network);
    if (!plan) throw new I2lError('INTERNAL', `${network.name} was not planned.`);
    await runNetwork({
      stages: network.stages,
      plan,
      session: this.#session,
      load,
      sink,
      onGroup: (group, stage) => {
        const { network: step, ...progress } = this.#meter.finish(network.name, group, stage);
        this.#context.emit({ type: 'progress', step, images: plan.images, ...progress });
      },
      signal: this.#context.signal,
      reader: this.#reader,
      trace: this.#trace,
    });
  }

  /** What every result says of the run. */
  summary(): Pick<JobResult, 'device' | 'seconds' | 'weightBytes' | 'peakMemory' | 'networks'> {
    const { stages, weightBytes, seconds, peakResidentBytes } = this.#trace.summary();
    const networks = [...this.#plans.values()].map((plan) => {
      const own = stages.filter((stage) => stage.network === plan.network);
      const sum = (of: 'createMs' | 'runMs' | 'sinkMs'): number => own.reduce((total, stage) => total + stage[of], 0) / 1000;
      return {
        network: plan.network,
        weightBytes: own.reduce((total, stage) => total + stage.weightBytes, 0),
        seconds: sum('createMs') + sum('runMs') + sum('sinkMs'),
        createSeconds: sum('createMs'),
        sinkSeconds: sum('sinkMs'),
        flops: plan.flops,
      };
    });
    return { device: this.#session.device, seconds, weightBytes, peakMemory: peakResidentBytes, networks };
  }

  async close(): Promise<void> {
    await this.#reader.close();
  }
}
