import { oc } from '@orpc/contract';
import { z } from 'zod';
import { LORA_DTYPES, rankChoiceSchema, SPLITS } from './job.ts';
import { idSchema, idsSchema, nameSchema, pathSchema } from './library-values.ts';
import { jobId, jobViewSchema } from './queue.ts';
import { TRAINER_IDS } from './trainers.ts';

/** What is made of LoRAs of the library: other ranks, merges, comparisons, exports. All of it is jobs of the queue. */

const rankSchema = z.int().positive().max(4096);

/** What one rank keeps and costs. */
const rankRowSchema = z.object({
  rank: rankSchema,
  /** Share of the Frobenius norm that is kept: of the whole LoRA, and of the module that loses most. */
  kept: z.number(),
  /** An index into the modules. */
  worst: z.object({ module: z.int(), kept: z.number() }),
  /** Of the tensors in bf16. */
  bytes: z.number(),
});

const presetSchema = z.discriminatedUnion('kind', [
  /** The smallest rank that keeps this share. */
  z.object({ kind: z.literal('energy'), share: z.number(), rank: rankSchema }),
  /** The largest rank of at most so many bytes; null if even rank 1 is larger. */
  z.object({ kind: z.literal('bytes'), bytes: z.number(), rank: rankSchema.nullable() }),
]);

/** All that a slider over ranks needs, so that each of its steps is a look into a table. */
export const spectrumViewSchema = z.object({
  /** The LoRA's own, the largest of its modules. */
  rank: rankSchema,
  /** From 1 to the LoRA's own; not every one of a large rank. */
  rows: z.array(rankRowSchema),
  presets: z.array(presetSchema),
  /** What each component, over all modules, has of the norm of the first; from the first on, falling. */
  components: z.array(z.number()),
  modules: z.array(
    z.object({
      path: z.string(),
      /** Where it stands in the map of the model: `columns` are blocks, `lines` are kinds of layers. */
      column: z.int(),
      line: z.int(),
      /** Its share of the LoRA's energy, the squared norm. */
      energy: z.number(),
    }),
  ),
  columns: z.array(z.string()),
  lines: z.array(z.string()),
  /** Base64 of unsigned 16-bit numbers, little-endian, row after row: each module's kept share times 65535. */
  shares: z.string(),
});
export type SpectrumView = z.infer<typeof spectrumViewSchema>;
export type RankRow = z.infer<typeof rankRowSchema>;

const spectrumSchema = z.discriminatedUnion('state', [
  spectrumViewSchema.extend({ state: z.literal('ready') }),
  /** Ask again when the job is done. */
  z.object({ state: z.literal('computing'), job: jobId }),
]);
export type SpectrumAnswer = z.infer<typeof spectrumSchema>;

const dtypeSchema = z.enum(LORA_DTYPES).default('bf16');

export const loraWorkContract = {
  /** Kept by the LoRA's tensors; what is not kept yet is computed by a job. */
  spectrum: oc.input(z.object({ id: idSchema })).output(spectrumSchema),
  /** A new version of it, of the same recipe. */
  resetRank: oc
    .input(
      z.object({
        id: idSchema,
        choice: rankChoiceSchema,
        split: z.enum(SPLITS).default('b-heavy'),
        dtype: dtypeSchema,
        name: nameSchema.optional(),
      }),
    )
    .output(jobViewSchema),
  /** The weighted sum of what they do; at its full rank, the sum of theirs, unless another is given. */
  merge: oc
    .input(
      z.object({
        inputs: z
          .array(z.object({ id: idSchema, strength: z.number().min(-100).max(100) }))
          .min(1)
          .max(100),
        rank: rankSchema.optional(),
        dtype: dtypeSchema,
        name: nameSchema,
      }),
    )
    .output(jobViewSchema),
  /** The job's result has the comparison, module by module. */
  compare: oc.input(z.object({ a: idSchema, b: idSchema })).output(jobViewSchema),
  /** One job for all of them; run again it puts what is missing. */
  exportToComfyui: oc
    .input(
      z.object({
        ids: idsSchema,
        /** A ComfyUI or a loras folder; the only install of the machine if not given. */
        folder: pathSchema.optional(),
        rank: rankSchema.optional(),
        /** A template: {name} {target} {rank} {date} {images}. */
        name: nameSchema.optional(),
        /** In the loras folder; '' for none. */
        subfolder: z.string().max(500).optional(),
        /** Whether to write ComfyUI-Lora-Manager's file with what the library knows. */
        sidecar: z.boolean().default(false),
        /** Whether to put the LoRA's preview beside it. */
        preview: z.boolean().default(true),
      }),
    )
    .output(jobViewSchema),
  /** A folder from which a trainer goes on. */
  exportForTrainer: oc
    .input(
      z.object({
        id: idSchema,
        trainer: z.enum(TRAINER_IDS),
        /** New or empty. */
        folder: pathSchema,
        rank: rankSchema.optional(),
        steps: z.int().min(1).max(10_000_000).default(500),
        /** A path, or a name by which the trainer knows it. */
        baseModel: z.string().max(4096).optional(),
        /** Whether to put the images that it was made from there, with their captions. */
        images: z.boolean().default(true),
      }),
    )
    .output(jobViewSchema),
};
