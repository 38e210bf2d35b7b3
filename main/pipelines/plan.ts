import type { CreateJob } from '../contract/job.ts';
import type { NetworkPlan } from '../offload/planner.ts';
import { loraBytes } from '../lora/write-lora.ts';
import { simulate, type Machine } from '../offload/simulate.ts';
import { allowance, planAll, threadsOf, type PreparedNetwork } from './context.ts';
import { decodedRows, prepareDecoder, rankedModules } from './decode-lora.ts';
import { EightBitCopy } from './eight-bit-copy.ts';
import { guessedMachine } from './machines.ts';
import { embeddingBytes, prepareEncoder } from './plan-encoding.ts';
import type { OpenEncoder } from './open-encoders.ts';
import { openModels, type OpenModels } from './open-models.ts';

export type PlanJob = Pick<CreateJob, 'models' | 'target' | 'experts' | 'dtype' | 'memory' | 'eightBit'> & {
  readonly images: number;
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
}

interface PlannedPart {
  readonly id: string;
  readonly prepared: PreparedNetwork;
  readonly plan: NetworkPlan;
}

/** What a job opens: its models, and the 8-bit copies that its encoders use. */
interface OpenJob extends OpenModels {
  readonly copies: ReadonlyMap<OpenEncoder, EightBitCopy>;
}

function openJob(job: PlanJob): OpenJob {
  const open = openModels(job);
  const { eightBit } = job;
  if (!eightBit) return { ...open, copies: new Map() };
  return { ...open, copies: new Map(open.encoders.map((encoder) => [encoder, new EightBitCopy(eightBit.folder, encoder)])) };
}

/** A job's networks in their order, each with its plan. */
function planParts(
  { memory, dtype, images }: PlanJob,
  { encoders, decoder, copies }: OpenJob,
  threads: number,
): readonly PlannedPart[] {
  const held = embeddingBytes(encoders, images);
  const decoding = prepareDecoder(decoder, dtype, held);
  const parts = [
    ...encoders.map((encoder) => ({
      id: encoder.id,
      prepared: prepareEncoder(encoder, held, { eightBit: copies.get(encoder)?.weights }),
    })),
    { id: [...decoder.experts, ...decoder.statics].map(({ id }) => id).join(' + '), prepared: decoding },
  ];
  const works = parts.map(({ prepared }) => ({ network: prepared, images: prepared === decoding ? decodedRows(images) : images }));
  const plans = planAll(works, allowance({ memory }, { device: 'cpu', threads }));
  return parts.map((part) => ({ ...part, plan: plans.get(part.prepared) as NetworkPlan }));
}

/** What a job would take on a machine. @throws as create does */
export function predictJob(job: PlanJob, machine: Machine): { readonly network: string; readonly seconds: number }[] {
  return planParts(job, openJob(job), machine.cores).map(({ prepared, plan }) => ({
    network: prepared.name,
    seconds: simulate(prepared.costs, plan, machine).seconds,
  }));
}

/** What create would read, hold and take, from the models' headers; nothing is run. @throws as create does */
export function planJob(job: PlanJob): JobEstimate {
  const { dtype, images } = job;
  const open = openJob(job);
  const networks = planParts(job, open, 0).map(({ id, prepared, plan }): NetworkEstimate => {
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
  };
}

function missingCopies({ copies }: OpenJob): JobEstimate['copies'] {
  return [...copies.values()].filter(({ isMade }) => !isMade).map(({ of, bytes }) => ({ of, bytes }));
}
