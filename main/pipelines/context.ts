import { availableParallelism } from 'node:os';
import type { EngineEvent, JobResult } from '../contract/engine.ts';
import { I2lError } from '../contract/errors.ts';
import type { Amount } from '../onnx/cost.ts';
import type { Device } from '../contract/devices.ts';
import { castsOn, graphOptionsFor, type SessionOptions } from '../onnx/runtime.ts';
import { canShareBytes, type EightBitWeights } from '../onnx/eight-bit.ts';
import { runNetwork } from '../offload/executor.ts';
import type { NetworkRun } from '../offload/group.ts';
import { planNetwork, shortfalls, type Decoding, type NetworkPlan, type PlanRequest } from '../offload/planner.ts';
import { paced, ProgressMeter, type Progress } from '../offload/progress.ts';
import { Reader } from '../offload/reader.ts';
import { memoryRefusal } from '../offload/shortfall.ts';
import { stageCosts, type Stage, type StageCost } from '../offload/stage.ts';
import { Trace } from '../offload/trace.ts';
import type { WeightKeeper } from '../offload/weight-keeper.ts';
import { baselineOf, USED_ENGINE_BYTES } from './baseline.ts';
import { expectedWork } from './expected-work.ts';

/** What every pipeline is given: how to speak to the user, and when to stop. */
export interface PipelineContext {
  readonly emit: (event: EngineEvent) => void;
  readonly signal: AbortSignal;
  /** Keeps weights for the next job of this process; absent where there is none. */
  readonly keeper?: WeightKeeper | undefined;
}

/** A network that is ready to be planned: its stages with what they cost. */
export interface PreparedNetwork {
  /** What progress and results call it: 'siglip2', 'dinov3', 'style' … */
  readonly name: string;
  readonly stages: readonly Stage[];
  readonly costs: readonly StageCost[];
  /** The same where stages are computed in so many shares; undefined where they can't be. */
  readonly shareCosts: (shares: number) => readonly StageCost[] | undefined;
  readonly wholeBatch: boolean;
  /** Graphs are run over so many images at least. */
  readonly leastImages: number;
  /** Bytes that the job has in memory beside it: embeddings, images. */
  readonly held: Amount;
  /** Of the images that are decoded before it runs, with what is held already, the one that takes most. */
  readonly decoding?: Decoding | undefined;
  /** Copies of weights that its products take. */
  readonly eightBit?: EightBitWeights | undefined;
  /** That it runs on. */
  readonly device: Device;
}

type PrepareOptions = Partial<Pick<PreparedNetwork, 'wholeBatch' | 'leastImages' | 'held' | 'decoding' | 'eightBit' | 'device'>>;

const NOTHING: Amount = { fixed: 0, perImage: 0 };

export function prepare(
  name: string,
  stages: readonly Stage[],
  { wholeBatch = false, leastImages = 1, held = NOTHING, decoding, eightBit, device = 'cpu' }: PrepareOptions = {},
): PreparedNetwork {
  const options = { ...graphOptionsFor(device), eightBit, weightsAs: device === 'cpu' ? 'fed' : 'mapped' } as const;
  const inShares = new Map<number, readonly StageCost[]>();
  const shareCosts = (of: number): readonly StageCost[] | undefined => {
    if (eightBit && !canShareBytes(of)) return undefined;
    const known = inShares.get(of) ?? stageCosts(stages, { ...options, share: { index: 0, of } });
    inShares.set(of, known);
    return known;
  };
  const costs = stageCosts(stages, options);
  return { name, stages, costs, shareCosts, wholeBatch, leastImages, held, decoding, eightBit, device };
}

/** A network and the images that it will run over, at most. Several passes are several of its copies. */
export interface Work {
  readonly network: PreparedNetwork;
  readonly images: number;
}

/** What a job asks for. */
export interface Budgets {
  /** Bytes. */
  readonly memory: number;
  /** Bytes of another device's own memory; absent on the CPU, and for as much as a stage takes. */
  readonly vram?: number | undefined;
}

/** What a job may take of the machine. */
export interface Allowance extends Budgets {
  /** Threads that compute. */
  readonly threads: number;
  /** Weights can be fed: another device takes those that are mapped once, however often they are used. */
  readonly feeds: boolean;
}

/** Another device has one queue. @param threads 0: one a core */
export function allowance(budgets: Budgets, { device, threads }: SessionOptions): Allowance {
  const isCpu = device === 'cpu';
  return { ...budgets, threads: isCpu ? threadsOf(threads) : 1, feeds: isCpu };
}

function requestOf({ network, images }: Work, { memory, vram, threads, feeds }: Allowance): PlanRequest {
  const { name, costs, shareCosts, wholeBatch, leastImages, held, decoding, device } = network;
  return {
    ...{
      network: name,
      costs,
      shareCosts,
      images,
      leastImages,
      baseline: baselineOf(held, images, device),
      decoding,
      wholeBatch,
      threads,
    },
    ...{ budget: memory, deviceBudget: vram, crossesCast: !castsOn(device) },
    feeds,
  };
}

/**
 * Plans all of a job's work.
 * @throws I2lError MEMORY_BUDGET of those that need most, so that the budgets it names are enough for all
 */
export function planAll(works: readonly Work[], allowed: Allowance): ReadonlyMap<PreparedNetwork, NetworkPlan> {
  const requests = works.map((work) => [work.network, requestOf(work, allowed)] as const);
  const short = requests.flatMap(([, request]) => shortfalls(request));
  if (short.length > 0) throw memoryRefusal(short);
  return new Map(requests.map(([network, request]) => [network, planNetwork(request)]));
}

/** The most images, up to `most`, whose work can be planned within the budget; at least 1. */
export function imagesThatFit(worksOf: (images: number) => readonly Work[], most: number, budgets: Budgets): number {
  const fit = (images: number): boolean => canPlan(worksOf(images), budgets);
  if (fit(most)) return most;
  let [fits, tooMany] = [1, most];
  while (tooMany - fits > 1) {
    const images = Math.floor((fits + tooMany) / 2);
    if (fit(images)) fits = images;
    else tooMany = images;
  }
  return fits;
}

/** Encoders' weights can stay in memory. What makes a copy runs once, and an expert's lanes read into buffers of their own. */
function canStay({ wholeBatch }: PreparedNetwork): boolean {
  return !wholeBatch;
}

/** Bytes of weights of each group that stays in memory where there is room. */
export function bytesThatStay(network: PreparedNetwork, { groups, weightsAs }: NetworkPlan): number[] {
  return canStay(network) && weightsAs === 'fed' ? groups.map(({ weightBytes }) => weightBytes) : [];
}

/** Jobs of no more images leave the same room for what is kept, so that it fits beside each of them. */
const USUAL_IMAGES = 8;

/** Bytes that a job leaves of its budget, for what is kept by an engine that does several. @param plans of these works */
export function roomBeside(works: readonly Work[], allowed: Allowance, plans: Iterable<NetworkPlan>): number {
  const usual = works.map(({ network, images }) => ({ network, images: Math.max(images, USUAL_IMAGES) }));
  if (usual.some((work) => shortfalls(requestOf(work, allowed)).length > 0)) return 0;
  const peaks = [...plans, ...planAll(usual, allowed).values()].map(({ peakBytes }) => peakBytes);
  return Math.max(0, allowed.memory - USED_ENGINE_BYTES - Math.max(...peaks));
}

function canPlan(works: readonly Work[], budgets: Budgets): boolean {
  try {
    planAll(works, { ...budgets, threads: 1, feeds: false });
    return true;
  } catch (error) {
    if (I2lError.from(error).code === 'MEMORY_BUDGET') return false;
    throw error;
  }
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
  readonly #allowed: Allowance;
  readonly #plans: ReadonlyMap<PreparedNetwork, NetworkPlan>;
  /** What they were asked for; graphs may be run over more. */
  readonly #images: ReadonlyMap<PreparedNetwork, number>;
  readonly #meter: ProgressMeter;
  readonly #trace = new Trace();
  readonly #reader: Reader;
  #hasBegun = false;

  constructor(context: PipelineContext, session: SessionOptions, planned: readonly Work[], budgets: Budgets) {
    this.#context = context;
    this.#session = session;
    const allowed = allowance(budgets, session);
    this.#plans = planAll(planned, allowed);
    this.#images = new Map(planned.map(({ network, images }) => [network, images]));
    const { keeper } = context;
    const room = keeper ? roomBeside(planned, allowed, this.#plans.values()) : 0;
    keeper?.begin(room);
    // What is planned anew, for fewer images, has to leave the room as well.
    this.#allowed = { ...allowed, memory: allowed.memory - room };
    const expected = expectedWork(this.#plans, threadsOf(session.threads), keeper);
    this.#meter = new ProgressMeter(expected, () => this.#trace.readAhead);
    // Last: a constructor that throws leaves nobody to close it.
    this.#reader = new Reader(this.#trace);
  }

  get device(): Device {
    return this.#session.device;
  }

  /**
   * @param images as many as planned, or fewer: those that can't be used are found late
   * @param as what the network has become since it was planned
   */
  async run(network: PreparedNetwork, { load, sink }: RunPart, images?: number, as = network): Promise<void> {
    const planned = this.#plans.get(network);
    if (!planned) throw new I2lError('INTERNAL', `${network.name} was not planned.`);
    if (images === 0) return this.#meter.skip(planned);
    const work = { network: as, images: images ?? (this.#images.get(network) as number) };
    const isAsPlanned = as === network && work.images === this.#images.get(network);
    const plan = isAsPlanned ? planned : planNetwork(requestOf(work, this.#allowed));
    const onGroup = this.#teller(planned, work.images);
    const started = performance.now();
    await runNetwork({
      stages: as.stages,
      plan,
      session: this.#session,
      eightBit: as.eightBit,
      load,
      sink,
      onGroup,
      signal: this.#context.signal,
      reader: this.#reader,
      trace: this.#trace,
      keeper: canStay(as) ? this.#context.keeper : undefined,
    });
    this.#trace.addNetwork(plan.network, performance.now() - started);
  }

  /** Tells of the groups of a network as they are done, the job's beginning first. */
  #teller(planned: NetworkPlan, images: number): NetworkRun['onGroup'] {
    const tell = ({ network: step, ...progress }: Progress): void =>
      this.#context.emit({ type: 'progress', step, images, device: this.#session.device, ...progress });
    if (!this.#hasBegun) tell(this.#meter.begin(planned));
    this.#hasBegun = true;
    const tellSome = paced(tell);
    return (group, stage, waited) => tellSome(this.#meter.finish(planned, group, stage, waited));
  }

  /** What every result says of the run. */
  summary(): Pick<JobResult, 'device' | 'seconds' | 'weightBytes' | 'peakMemory' | 'networks' | 'resident'> {
    const { stages, networkMs, weightBytes, seconds, peakResidentBytes } = this.#trace.summary();
    const names = [...new Set([...this.#plans.values()].map((plan) => plan.network))];
    const networks = names.map((network) => {
      const own = stages.filter((stage) => stage.network === network);
      const plans = [...this.#plans.values()].filter((plan) => plan.network === network);
      const sum = (of: 'waitMs' | 'createMs' | 'sinkMs'): number => own.reduce((total, stage) => total + stage[of], 0) / 1000;
      return {
        network,
        weightBytes: own.reduce((total, stage) => total + stage.weightBytes, 0),
        seconds: (networkMs.get(network) ?? 0) / 1000,
        waitSeconds: sum('waitMs'),
        createSeconds: sum('createMs'),
        sinkSeconds: sum('sinkMs'),
        flops: plans.reduce((total, plan) => total + plan.flops, 0),
        keptGroups: own.filter(({ wereKept }) => wereKept).length,
      };
    });
    const { keeper } = this.#context;
    const resident = keeper && keeper.size > 0 ? { resident: { groups: keeper.size, bytes: keeper.bytes } } : {};
    return { device: this.#session.device, seconds, weightBytes, peakMemory: peakResidentBytes, networks, ...resident };
  }

  async close(): Promise<void> {
    await this.#reader.close();
  }
}
