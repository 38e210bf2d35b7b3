import { oc } from '@orpc/contract';
import { z } from 'zod';
import { noteSchema } from './wire-notes.ts';

/** ComfyUI installs of the machine that computes. */

/** What brought an install along; 'named' is a folder that the user named. */
export const INSTALL_KINDS = ['git', 'portable', 'desktop', 'desktop-new', 'pinokio', 'stability-matrix', 'named'] as const;
export type InstallKind = (typeof INSTALL_KINDS)[number];

export const comfyInstallSchema = z.object({
  kind: z.enum(INSTALL_KINDS),
  root: z.string(),
  /** In the order in which ComfyUI searches them; at least one. */
  lorasFolders: z.array(z.object({ path: z.string(), isDefault: z.boolean(), source: z.string(), writable: z.boolean() })),
  /** What could not be used. */
  notes: z.array(noteSchema),
});
export type ComfyInstallView = z.infer<typeof comfyInstallSchema>;

export const comfyuiContract = {
  /** Those in the settings first, then those that are found by themselves. */
  installs: oc.output(z.array(comfyInstallSchema)),
};
