import { oc } from '@orpc/contract';
import { z } from 'zod';
import { createJobSchema } from './job.ts';

/** What a recipe would cost, before it is made. */

const networkEstimateSchema = z.object({
  /** 'siglip2', 'dinov3', 'style' … */
  network: z.string(),
  id: z.string(),
  stages: z.int(),
  /** Graphs that the stages are joined into. */
  runs: z.int(),
  imagesPerRun: z.int(),
  weightBytes: z.number(),
  peakBytes: z.number(),
  flops: z.number(),
  seconds: z.number(),
});

export const estimateSchema = z.object({
  networks: z.array(networkEstimateSchema),
  images: z.int(),
  weightBytes: z.number(),
  /** Highest resident memory of the engine's process. */
  peakBytes: z.number(),
  seconds: z.number(),
  rank: z.int(),
  modules: z.int(),
  /** Of the LoRA's tensors. */
  outputBytes: z.number(),
});
export type Estimate = z.infer<typeof estimateSchema>;

export const recipeContract = {
  /** From the models' headers alone: milliseconds. What is absent is taken from the settings. */
  estimate: oc
    .input(
      z.object({
        images: z.int().min(1).max(100_000),
        target: createJobSchema.shape.target,
        experts: createJobSchema.shape.experts,
        dtype: createJobSchema.shape.dtype.default('bf16'),
        models: createJobSchema.shape.models.optional(),
        memory: createJobSchema.shape.memory.optional(),
      }),
    )
    .output(estimateSchema),
};
