import type { CreateJob } from '../contract/job.ts';
import type { NetworkPlan } from '../offload/planner.ts';
import { loraBytes } from '../lora/write-lora.ts';
import { simulate, type Machine } from '../offload/simulate.ts';
import {
  allowance,
  bytesThatStay,
  planAll,
  roomBeside,
  threadsOf,
  type Allowance,
  type PreparedNetwork,
  type Work,
} from './context.ts';
import { prepareDecoder, rankedModules } from './decode-lora.ts';
import { copiesOf, type EightBitCopies } from './eight-bit-copies.ts';
import { guessedMachine } from './machines.ts';
import { embeddingBytes, prepareEncoder } from './plan-encoding.ts';
import { openModels, type OpenModels } from './open-models.ts';

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
}

export interface JobEstimate {
  readonly networks: readonly NetworkEstimate[];
  readonly images: number;
  readonly weightBytes: number;
  readonly peakBytes: number;
  readonly seconds: number;
  readonly rank: number;
  readonly modules: number;
  /** Of the LoRA's tensors. */
  readonly outputBytes: number;
  /** Copies of encoders' weights in 8 bits that have to be made first, once. */
  readonly copies: readonly { readonly of: string; readonly bytes: number }[];
  /** Of memory, for what stays ready for the next job. */
  readonly residentBytes: number;
}

interface PlannedPart {
  readonly id: string;
  readonly prepared: PreparedNetwork;
  readonly plan: NetworkPlan;
}

interface PlannedJob {
  readonly parts: readonly PlannedPart[];
  readonly works: readonly Work[];
  readonly allowed: Allowance;
}

/** What a job opens: its models, the 8-bit copies that its encoders use, and its networks in their order. */
interface OpenJob extends OpenModels {
  readonly copies: EightBitCopies;
  readonly parts: readonly Omit<PlannedPart, 'plan'>[];
}

function openJob(job: PlanChoice): OpenJob {
  const { encoders, decoder } = openModels(job);
  const copies = copiesOf(encoders, job.eightBit);
  const encoding = encoders.map((encoder) => ({
    id: encoder.id,
    prepared: prepareEncoder(encoder, 0, { eightBit: copies.get(encoder)?.weights }),
  }));
  const id = [...decoder.experts, ...decoder.statics].map((part) => part.id).join(' + ');
  return { encoders, decoder, copies, parts: [...encoding, { id, prepared: prepareDecoder(decoder, job.dtype, 0, 'cpu') }] };
}

/** Each of a job's networks with its plan. */
function planParts(images: number, memory: number, open: OpenJob, threads: number): PlannedJob {
  const held = embeddingBytes(open.encoders, images);
  const parts = open.parts.map(({ id, prepared }) => ({ id, prepared: beside(held, prepared) }));
  const works = parts.map(({ prepared }) => ({ network: prepared, images }));
  const allowed = allowance({ memory }, { device: 'cpu', threads });
  const plans = planAll(works, allowed);
  return { parts: parts.map((part) => ({ ...part, plan: plans.get(part.prepared) as NetworkPlan })), works, allowed };
}

/** A network while so many bytes more are held. */
function beside(bytes: number, { held, ...network }: PreparedNetwork): PreparedNetwork {
  return { ...network, held: { ...held, fixed: held.fixed + bytes } };
}

/** As WeightKeeper fills the room that the job leaves. */
function residentBytes({ parts, works, allowed }: PlannedJob): number {
  const room = roomBeside(works, allowed, parts.map(({ plan }) => plan)); // prettier-ignore
  const groups = parts.flatMap(({ prepared, plan }) => bytesThatStay(prepared, plan));
  return groups.reduce((held, bytes) => (held + bytes <= room ? held + bytes : held), 0);
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
    networks: planParts(images, choice.memory, machine.device ? onDevice : onCpu, machine.cores).parts.map(
      ({ prepared, plan }) => ({
        network: prepared.name,
        seconds: simulate(prepared.costs, plan, machine).seconds,
      }),
    ),
  }));
}

/** What create would read, hold and take, from the models' headers; nothing is run. @throws as create does */
export function planJob({ images, ...choice }: PlanJob): JobEstimate {
  return plannerOf(choice)(images);
}

/** The same for any number of images, of models that are opened once. */
export function plannerOf(choice: PlanChoice): (images: number) => JobEstimate {
  const open = openJob(choice);
  return (images) => estimate(images, choice, open);
}

function estimate(images: number, { memory, dtype, stays }: PlanChoice, open: OpenJob): JobEstimate {
  const planned = planParts(images, memory, open, 0);
  const networks = planned.parts.map(({ id, prepared, plan }): NetworkEstimate => {
    const { groups, imagesPerRun, weightBytes, peakBytes, flops } = plan;
    const { seconds } = simulate(prepared.costs, plan, guessedMachine(threadsOf(0)));
    return {
      network: prepared.name,
      id,
      stages: prepared.stages.length,
      runs: groups.length,
      imagesPerRun,
      weightBytes,
      peakBytes,
      flops,
      seconds,
    };
  });
  const modules = rankedModules(open.decoder, images);
  const sum = (of: (network: NetworkEstimate) => number): number => networks.reduce((total, network) => total + of(network), 0);
  return {
    networks,
    images,
    weightBytes: sum(({ weightBytes }) => weightBytes),
    peakBytes: Math.max(...networks.map(({ peakBytes }) => peakBytes)),
    seconds: sum(({ seconds }) => seconds),
    rank: Math.max(...modules.map((module) => module.rank)),
    modules: modules.length,
    outputBytes: loraBytes(modules, dtype),
    copies: missingCopies(open),
    residentBytes: stays ? residentBytes(planned) : 0,
  };
}

function missingCopies({ copies }: OpenJob): JobEstimate['copies'] {
  return [...copies.values()].filter(({ isMade }) => !isMade).map(({ of, bytes }) => ({ of, bytes }));
}
