import { oc } from '@orpc/contract';
import { z } from 'zod';

/** ComfyUI installs of the machine that computes. */

export const comfyInstallSchema = z.object({
  kind: z.string(),
  root: z.string(),
  /** In the order in which ComfyUI searches them; at least one. */
  lorasFolders: z.array(z.object({ path: z.string(), isDefault: z.boolean(), source: z.string(), writable: z.boolean() })),
  /** What could not be used, one sentence each. */
  notes: z.array(z.string()),
});
export type ComfyInstallView = z.infer<typeof comfyInstallSchema>;

export const comfyuiContract = {
  /** Those in the settings first, then those that are found by themselves. */
  installs: oc.output(z.array(comfyInstallSchema)),
};
