import { oc } from '@orpc/contract';
import { z } from 'zod';
import { EXPERTS, TARGETS } from './experts.ts';
import { createJobSchema } from './job.ts';
import { idsSchema, nameSchema } from './library-values.ts';
import { jobViewSchema } from './queue.ts';

/** Recipes over the library's image sets: what they need, what they would cost, and their jobs. */

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
  /** How often all its weights are read: once for as many images as the memory allows. */
  passes: z.int(),
});

export const estimateSchema = z.object({
  networks: z.array(networkEstimateSchema),
  images: z.int(),
  weightBytes: z.number(),
  /** Highest resident memory of the engine's process. */
  peakBytes: z.number(),
  seconds: z.number(),
  /** Of the largest LoRA, if there are several. */
  rank: z.int(),
  modules: z.int(),
  /** Of the LoRAs' tensors, all together. */
  outputBytes: z.number(),
  loras: z.int(),
  /** Copies of encoders' weights in 8 bits that have to be made first, once. */
  copies: z.array(z.object({ of: z.string(), bytes: z.number() })),
  /** Of memory, for encoders' weights that stay there for the next job. */
  residentBytes: z.number(),
});
export type Estimate = z.infer<typeof estimateSchema>;

export const expertOptionSchema = z.object({
  name: z.enum(EXPERTS),
  /** Whether all models that it needs are on this machine. */
  isReady: z.boolean(),
  /** Those that are not. */
  missing: z.array(
    z.object({
      /** Catalogue id. */
      id: z.string(),
      title: z.string(),
      /** Absent where it is not known. */
      bytes: z.number().optional(),
    }),
  ),
});
export type ExpertOption = z.infer<typeof expertOptionSchema>;

const { target, experts, dtype, keyForm } = createJobSchema.shape;
const setIds = idsSchema.refine((ids) => ids.length <= 1000, 'at most 1000 sets');

export const recipeContract = {
  /** The target's experts, in the order in which their ranks lie in a LoRA. */
  options: oc.input(z.object({ target: z.enum(TARGETS) })).output(z.object({ experts: z.array(expertOptionSchema) })),
  /** From the models' headers alone: milliseconds. What is absent is taken from the settings. */
  estimate: oc
    .input(
      z
        .object({
          /** Of one LoRA. */
          images: z.int().min(1).max(100_000).optional(),
          /** One LoRA each, of the images that have a weight. */
          setIds: setIds.optional(),
          target,
          experts,
          dtype: dtype.default('bf16'),
          memory: createJobSchema.shape.memory.optional(),
        })
        .refine((input) => (input.images === undefined) !== (input.setIds === undefined), 'expected either images or setIds'),
    )
    .output(estimateSchema),
  /** Queues one job that makes a LoRA of each set, in one pass over the weights; images of weight 0 take no part. */
  create: oc
    .input(
      z.object({
        setIds,
        target,
        experts,
        /** Of the LoRA; without it, and where there are several, the set's. */
        name: nameSchema.optional(),
        dtype: dtype.default('bf16'),
        keyForm: keyForm.default('comfyui'),
        /** Leaves images out that can't be used, instead of stopping. */
        skipBad: z.boolean().default(false),
      }),
    )
    .output(jobViewSchema),
};
