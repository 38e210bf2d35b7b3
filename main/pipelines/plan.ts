import type { CreateJob } from '../contract/job.ts';
import type { NetworkPlan } from '../offload/planner.ts';
import { priorSeconds } from '../offload/progress.ts';
import { loraBytes } from '../lora/write-lora.ts';
import { allowance, planAll } from './context.ts';
import { decodedRows, prepareDecoder, rankedModules } from './decode-lora.ts';
import { embeddingBytes, prepareEncoder } from './encode-images.ts';
import { openModels } from './open-models.ts';

export type PlanJob = Pick<CreateJob, 'models' | 'target' | 'experts' | 'dtype' | 'memory'> & { readonly images: number };

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
  /** A guess from two cores' speed and cached reads; see main/offload/progress.ts. */
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
}

/** What create would read, hold and take, from the models' headers; nothing is run. @throws as create does */
export function planJob({ models, target, experts, dtype, memory, images }: PlanJob): JobEstimate {
  const { encoders, decoder } = openModels({ models, target, experts });
  const held = embeddingBytes(encoders, images);
  const decoding = prepareDecoder(decoder, dtype, held);
  const parts = [
    ...encoders.map((encoder) => ({ id: encoder.id, prepared: prepareEncoder(encoder, held) })),
    { id: [...decoder.experts, ...decoder.statics].map(({ id }) => id).join(' + '), prepared: decoding },
  ];
  const works = parts.map(({ prepared }) => ({ network: prepared, images: prepared === decoding ? decodedRows(images) : images }));
  const plans = planAll(works, allowance(memory, { device: 'cpu', threads: 0 }));
  const networks = parts.map(({ id, prepared }): NetworkEstimate => {
    const { groups, imagesPerRun, weightBytes, peakBytes, flops } = plans.get(prepared) as NetworkPlan;
    const seconds = priorSeconds(weightBytes, flops);
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
  const modules = rankedModules(decoder, images);
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
  };
}
