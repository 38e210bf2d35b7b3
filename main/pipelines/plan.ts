import type { CreateJob } from '../contract/job.ts';
import type { NetworkPlan } from '../offload/planner.ts';
import { loraBytes } from '../lora/write-lora.ts';
import { simulate, type Machine } from '../offload/simulate.ts';
import { runsOf } from '../onnx/runs.ts';
import {
  allowance,
  bytesThatStay,
  imagesThatFit,
  planAll,
  roomBeside,
  threadsOf,
  type Allowance,
  type PreparedNetwork,
  type Work,
} from './context.ts';
import { prepareDecoder, rankedModules } from './decode-lora.ts';
import { decodePasses } from './decode-passes.ts';
import { copiesOf, type EightBitCopies } from './eight-bit-copies.ts';
import { guessedMachine } from './machines.ts';
import { embeddingBytes, prepareEncoder } from './plan-encoding.ts';
import { openModels, type OpenModels } from './open-models.ts';

/** Of one LoRA. */
export type PlanJob = PlanChoice & { readonly images: number };

/** All that a plan depends on but the images. */
export type PlanChoice = Pick<CreateJob, 'models' | 'target' | 'experts' | 'dtype' | 'memory' | 'eightBit'> & {
  /** Its process may stay for the next job. */
  readonly stays?: boolean;
};

export interface NetworkEstimate {
  readonly network: string;
  readonly id: string;
  readonly stages: number;
  /** Graphs that the stages are joined into. */
  readonly runs: number;
  readonly imagesPerRun: number;
  readonly weightBytes: number;
  readonly peakBytes: number;
  readonly flops: number;
  /** A guess from another machine's speed; see {@link guessedMachine}. */
  readonly seconds: number;
  /** How often all its weights are read: once for as many images as the memory allows. */
  readonly passes: number;
}

export interface JobEstimate {
  readonly networks: readonly NetworkEstimate[];
  readonly images: number;
  readonly weightBytes: number;
  readonly peakBytes: number;
  readonly seconds: number;
  /** Of the largest LoRA, if there are several. */
  readonly rank: number;
  readonly modules: number;
  /** Of the LoRAs' tensors, all together. */
  readonly outputBytes: number;
  /** Copies of encoders' weights in 8 bits that have to be made first, once. */
  readonly copies: readonly { readonly of: string; readonly bytes: number }[];
  /** Of memory, for what stays ready for the next job. */
  readonly residentBytes: number;
}

/** A network's passes over images: those over as many are planned once. */
interface PlannedPass {
  readonly prepared: PreparedNetwork;
  readonly plan: NetworkPlan;
  readonly times: number;
}

interface OpenPart {
  readonly id: string;
  readonly prepared: PreparedNetwork;
}

interface PlannedPart extends OpenPart {
  readonly passes: readonly PlannedPass[];
}

interface PlannedJob {
  readonly parts: readonly PlannedPart[];
  readonly works: readonly Work[];
  readonly allowed: Allowance;
}

/** What a job opens: its models, the 8-bit copies that its encoders use, and its networks. */
interface OpenJob extends OpenModels {
  readonly copies: EightBitCopies;
  readonly encoding: readonly OpenPart[];
  readonly decoding: OpenPart;
}

function openJob(job: PlanChoice): OpenJob {
  const { encoders, decoder } = openModels(job);
  const copies = copiesOf(encoders, job.eightBit);
  const encoding = encoders.map((encoder) => ({
    id: encoder.id,
    prepared: prepareEncoder(encoder, 0, { eightBit: copies.get(encoder)?.weights }),
  }));
  const id = [...decoder.experts, ...decoder.statics].map((part) => part.id).join(' + ');
  return { encoders, decoder, copies, encoding, decoding: { id, prepared: prepareDecoder(decoder, job.dtype, 0, 'cpu') } };
}

/** Each of a job's networks with its passes, as create makes them. @param counts images of each LoRA */
function planParts(counts: readonly number[], memory: number, open: OpenJob, threads: number): PlannedJob {
  const images = sumOf(counts);
  const held = embeddingBytes(open.encoders, images);
  const beside = ({ id, prepared }: OpenPart): OpenPart => ({ id, prepared: holding(held, prepared) });
  const [encoding, decoding] = [open.encoding.map(beside), beside(open.decoding)];
  const fit = (parts: readonly OpenPart[]): number =>
    imagesThatFit((count) => parts.map(({ prepared }) => ({ network: prepared, images: count })), images, { memory });
  const perPass = fit(encoding);
  const encodePasses = runsOf(images, perPass).map(({ count }) => count);
  const written = decodePasses(counts, (count) => count, fit([decoding])).map(sumOf);
  const sized = [...encoding.map((part) => ({ part, passes: encodePasses })), { part: decoding, passes: written }];
  const asked = sized.map(({ part, passes }) => ({ ...part, works: worksOver(part.prepared, passes) }));
  const works = asked.flatMap((part) => part.works);
  const allowed = allowance({ memory }, { device: 'cpu', threads });
  const plans = planAll(works, allowed);
  const parts = asked.map((part) => ({
    ...part,
    passes: part.works.map(({ network, times }) => ({ prepared: network, plan: plans.get(network) as NetworkPlan, times })),
  }));
  return { parts, works, allowed };
}

/** A copy of the network for each number of images, with how many passes are over so many. */
function worksOver(network: PreparedNetwork, passes: readonly number[]): (Work & { readonly times: number })[] {
  return [...Map.groupBy(passes, (images) => images)].map(([images, { length: times }]) => ({
    network: { ...network },
    images,
    times,
  }));
}

const sumOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);

/** A network while so many bytes more are held. */
function holding(bytes: number, { held, ...network }: PreparedNetwork): PreparedNetwork {
  return { ...network, held: { ...held, fixed: held.fixed + bytes } };
}

/** As WeightKeeper fills the room that the job leaves. */
function residentBytes({ parts, works, allowed }: PlannedJob): number {
  const passes = parts.flatMap((part) => part.passes);
  const room = roomBeside(works, allowed, passes.map(({ plan }) => plan)); // prettier-ignore
  // The others find what the first has left.
  const groups = parts.flatMap((part) => part.passes.slice(0, 1).flatMap(({ prepared, plan }) => bytesThatStay(prepared, plan)));
  return groups.reduce((held, bytes) => (held + bytes <= room ? held + bytes : held), 0);
}

function secondsOn(machine: Machine, { passes }: PlannedPart): number {
  return sumOf(passes.map(({ prepared, plan, times }) => times * simulate(prepared.costs, plan, machine).seconds));
}

export interface Prediction {
  readonly machine: string;
  readonly networks: readonly { readonly network: string; readonly seconds: number }[];
}

/** What a job would take on each of these machines; copies in 8 bits are the CPU's. @throws as create does */
export function predictJob({ images, ...choice }: PlanJob, machines: readonly Machine[]): Prediction[] {
  const onCpu = openJob(choice);
  const onDevice = choice.eightBit ? openJob({ ...choice, eightBit: undefined }) : onCpu;
  return machines.map((machine) => ({
    machine: machine.name,
    networks: planParts([images], choice.memory, machine.device ? onDevice : onCpu, machine.cores).parts.map((part) => ({
      network: part.prepared.name,
      seconds: secondsOn(machine, part),
    })),
  }));
}

/** What create would read, hold and take, from the models' headers; nothing is run. @throws as create does */
export function planJob({ images, ...choice }: PlanJob): JobEstimate {
  return planJobOf([images], choice);
}

/** The same for several LoRAs in one job. @param counts images of each */
export function planJobOf(counts: readonly number[], { memory, dtype, stays, ...choice }: PlanChoice): JobEstimate {
  const open = openJob({ memory, dtype, ...choice });
  const planned = planParts(counts, memory, open, 0);
  const networks = planned.parts.map(estimateOf);
  const sizes = [...Map.groupBy(counts, (images) => images)];
  const modules = rankedModules(open.decoder, Math.max(...counts));
  const total = (of: (network: NetworkEstimate) => number): number => sumOf(networks.map(of));
  return {
    networks,
    images: sumOf(counts),
    weightBytes: total(({ weightBytes }) => weightBytes),
    peakBytes: Math.max(...networks.map(({ peakBytes }) => peakBytes)),
    seconds: total(({ seconds }) => seconds),
    rank: Math.max(...modules.map((module) => module.rank)),
    modules: modules.length,
    outputBytes: sumOf(sizes.map(([images, { length }]) => length * loraBytes(rankedModules(open.decoder, images), dtype))),
    copies: missingCopies(open),
    residentBytes: stays ? residentBytes(planned) : 0,
  };
}

function estimateOf(part: PlannedPart): NetworkEstimate {
  const { id, prepared, passes } = part;
  const total = (of: (plan: NetworkPlan) => number): number => sumOf(passes.map(({ plan, times }) => times * of(plan)));
  const plans = passes.map(({ plan }) => plan);
  return {
    network: prepared.name,
    id,
    stages: prepared.stages.length,
    runs: Math.max(...plans.map(({ groups }) => groups.length)),
    imagesPerRun: Math.max(...plans.map(({ imagesPerRun }) => imagesPerRun)),
    weightBytes: total(({ weightBytes }) => weightBytes),
    peakBytes: Math.max(...plans.map(({ peakBytes }) => peakBytes)),
    flops: total(({ flops }) => flops),
    seconds: secondsOn(guessedMachine(threadsOf(0)), part),
    passes: sumOf(passes.map(({ times }) => times)),
  };
}

function missingCopies({ copies }: OpenJob): JobEstimate['copies'] {
  return [...copies.values()].filter(({ isMade }) => !isMade).map(({ of, bytes }) => ({ of, bytes }));
}
