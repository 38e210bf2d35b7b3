import { z } from 'zod';

/** Models: where they are published, where they lie on this machine, how they come here. */

export const HUB_NAMES = ['huggingface', 'modelscope'] as const;
export const hubNameSchema = z.enum(HUB_NAMES);
export type HubName = z.infer<typeof hubNameSchema>;

/** Of one file, a few times a second. */
export const downloadProgressSchema = z.object({
  /** Bytes that are there, of earlier runs as well. */
  bytes: z.number(),
  total: z.number(),
  /** Over the last seconds. */
  bytesPerSecond: z.number(),
  connections: z.int(),
  /** Absent while nothing comes. */
  etaSeconds: z.number().optional(),
});
export type DownloadProgress = z.infer<typeof downloadProgressSchema>;
