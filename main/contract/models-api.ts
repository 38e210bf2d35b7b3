import { oc } from '@orpc/contract';
import { z } from 'zod';
import {
  eightBitCopySchema,
  expertViewSchema,
  foundModelSchema,
  hubAccessSchema,
  hubNameSchema,
  licenceSchema,
  modelViewSchema,
  PULL_SOURCES,
  unusedModelSchema,
  verifiedFileSchema,
} from './models.ts';
import { jobViewSchema } from './queue.ts';
import { errorShapeSchema } from './wire-errors.ts';

/** What can be asked about models, and the jobs that bring and check them. */

const modelId = z.string().min(1).max(100);
const folders = z.array(z.string().min(1).max(4096)).max(100);

/** Input of a job of kind 'download'. No token: the app has those of the user's accounts. */
export const downloadJobSchema = z.object({
  kind: z.literal('download'),
  /** Catalogue ids. */
  models: z.array(modelId).min(1).max(100),
  source: z.enum(PULL_SOURCES).default('auto'),
  /** Of a mirror of the chosen hub. */
  endpoint: z.string().min(1).max(1000).optional(),
  /** Ids of the licences that the user has read and agrees to. */
  acceptedLicences: z.array(z.string().max(100)).max(100).default([]),
  connections: z.int().min(1).max(16).optional(),
  bytesPerSecond: z.int().positive().optional(),
});
export type DownloadJob = z.infer<typeof downloadJobSchema>;

/** Input of a job of kind 'verify'. */
export const verifyJobSchema = z.object({
  kind: z.literal('verify'),
  /** All that are here, if absent. */
  models: z.array(modelId).min(1).max(100).optional(),
  /** Damaged files that the app downloaded come again, as far as they are damaged. */
  repair: z.boolean().default(false),
  /** Asks the hubs what files of other programs have to be. */
  online: z.boolean().default(false),
});
export type VerifyJob = z.infer<typeof verifyJobSchema>;

/** Results of the two kinds. */
export const pulledFilesSchema = z.object({
  files: z.array(z.object({ model: modelId, path: z.string(), size: z.number(), received: z.number() })),
});
export const verifiedFilesSchema = z.object({ files: z.array(verifiedFileSchema) });

/** All that a screen of models shows. Read from this machine alone. */
export const modelsOverviewSchema = z.object({
  models: z.array(modelViewSchema),
  experts: z.array(expertViewSchema),
  unused: z.array(unusedModelSchema),
  /** Safetensors files that are none of ours. */
  others: z.int(),
  troubles: z.array(errorShapeSchema),
  hubs: z.array(hubAccessSchema),
  /** Where downloads go, and what may be written there; null where the system doesn't say. */
  modelsFolder: z.string(),
  freeBytes: z.number().nullable(),
  /** Of all published models that are not here, as far as their sizes are known. */
  missingBytes: z.number(),
  /** Nothing is here and nothing was ever asked for: the user has to be shown where to begin. */
  isFirstStart: z.boolean(),
  /** Whether tokens can be kept where the system keeps secrets; else they come from the environment. */
  canKeepTokens: z.boolean(),
});
export type ModelsOverview = z.infer<typeof modelsOverviewSchema>;

export const demoContract = {
  /** Makes tiny models with random weights and example images in the data folder, and has new jobs take them. */
  prepare: oc.input(z.object({})).output(z.object({ modelsFolder: z.string(), images: z.array(z.string()) })),
};

export const modelsContract = {
  overview: oc.output(modelsOverviewSchema),
  /** Where the system keeps secrets, in the desktop app. @param token null forgets it; it is never given back */
  keepToken: oc.input(z.object({ hub: hubNameSchema, token: z.string().min(1).max(1000).nullable() })).output(z.object({})),
  /** The published models, and what of each is on this machine. @param folders to look into before all others */
  list: oc.input(z.object({ folders: folders.default([]) })).output(z.array(modelViewSchema)),
  /** All models on this machine, published ones and others. Reads headers; asks no network. */
  scan: oc.input(z.object({ folders: folders.default([]) })).output(
    z.object({
      models: z.array(foundModelSchema),
      /** Safetensors files that are none of ours. */
      others: z.int(),
      /** What could not be looked into or read. */
      troubles: z.array(errorShapeSchema),
    }),
  ),
  licence: oc.input(z.object({ model: modelId })).output(licenceSchema),
  /** Queues a download to the models folder of the settings. LICENCE_NOT_ACCEPTED, with its url, where terms come first. */
  pull: oc.input(downloadJobSchema.omit({ kind: true })).output(jobViewSchema),
  verify: oc.input(verifyJobSchema.omit({ kind: true })).output(jobViewSchema),
  /** Removes files that the app downloaded, and no others. */
  remove: oc
    .input(z.object({ models: z.array(modelId).min(1).max(100) }))
    .output(z.object({ removed: z.array(z.object({ path: z.string(), bytes: z.number() })) })),
  /** Copies of encoders' weights in 8 bits, which jobs made. */
  copies: oc.output(z.array(eightBitCopySchema)),
  /** Deletes them all; jobs that want them make them again. */
  removeCopies: oc.input(z.object({})).output(z.object({ bytes: z.number() })),
};
