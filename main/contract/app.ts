import { eventIterator, oc } from '@orpc/contract';
import { z } from 'zod';
import { DEVICE_CHOICES } from './devices.ts';
import { pathSchema } from './library-values.ts';
import { PULL_SOURCES } from './models.ts';
import { noteSchema } from './wire-notes.ts';

/** The app itself: what it is and runs on, and what the user has set. */

export const THEMES = ['system', 'dark', 'light'] as const;
export const LANGUAGES = ['system', 'en', 'zh-CN'] as const;

const folder = z.string().min(1).max(4096);
const GIB = 2 ** 30;
const MIB = 2 ** 20;
const MOST_BYTES = 2 ** 50;

export const settingsSchema = z.object({
  theme: z.enum(THEMES),
  language: z.enum(LANGUAGES),
  /** Bytes that the engine's process may reach. */
  memory: z
    .int()
    .min(GIB / 2)
    .max(MOST_BYTES),
  device: z.enum(DEVICE_CHOICES),
  /** On the CPU; 0: one a core. */
  threads: z.int().min(0).max(256),
  /** Encoders on the CPU use copies of their weights in 8 bits. */
  fastEncoders: z.boolean(),
  /** Within the memory budget, encoders' weights stay in memory for some minutes after a job. */
  keepEncoders: z.boolean(),
  /** Where the models lie; null: `models` in the data folder. */
  modelsFolder: folder.nullable(),
  /** The hub that models are downloaded from. */
  modelSource: z.enum(PULL_SOURCES),
  /** Address of a mirror of that hub; null: the hub itself. Nothing where the hub is chosen automatically. */
  modelMirror: z.string().min(1).max(1000).nullable(),
  /** New jobs take the demo's models, whose LoRAs mean nothing. */
  demoModels: z.boolean(),
  /** ComfyUI installs that are not found by themselves. */
  comfyuiFolders: z.array(folder).max(100),
  /** Bytes that kept embeddings may take; what was used longest ago goes first. */
  embeddingCacheBytes: z.int().min(MIB).max(MOST_BYTES),
});
export type Settings = z.infer<typeof settingsSchema>;

export const DEFAULT_SETTINGS: Settings = {
  theme: 'system',
  language: 'system',
  memory: 1.5 * GIB,
  device: 'auto',
  threads: 0,
  fastEncoders: false,
  keepEncoders: true,
  modelsFolder: null,
  modelSource: 'auto',
  modelMirror: null,
  demoModels: false,
  comfyuiFolders: [],
  embeddingCacheBytes: 2 * GIB,
};

/** Any of the settings; the others stay. A name that is none of them is refused. */
export const settingsChangeSchema = z.strictObject(settingsSchema.shape).partial();
export type SettingsChange = z.infer<typeof settingsChangeSchema>;

export const appInfoSchema = z.object({
  version: z.string(),
  /** 'desktop': a window on this machine. 'server': a browser, maybe on another. */
  mode: z.enum(['desktop', 'server']),
  /** Whether `pick` can open a dialog; else paths are typed. */
  canPick: z.boolean(),
  platform: z.string(),
  arch: z.string(),
  /** Of the machine that computes. */
  cpu: z.object({ model: z.string(), cores: z.int() }),
  memoryBytes: z.number(),
  dataFolder: z.string(),
  /** Where models are downloaded to, by the settings. */
  modelsFolder: z.string(),
  /** What the user should know about this start: settings that could not be read … */
  notes: z.array(noteSchema),
});
export type AppInfo = z.infer<typeof appInfoSchema>;

/** What a dialog lets the user choose: files of a kind, a folder that is there, or one that may be made. */
export const PICKS = ['images', 'loras', 'folder', 'new-folder'] as const;

const pickSchema = z.object({
  what: z.enum(PICKS),
  /** Of the dialog, in the user's language. */
  title: z.string().min(1).max(200),
});
export type PickRequest = z.infer<typeof pickSchema>;

export const appContract = {
  info: oc.output(appInfoSchema),
  settings: {
    get: oc.output(settingsSchema),
    set: oc.input(settingsChangeSchema).output(settingsSchema),
    /** First the settings, then each change of them, by whichever window. */
    watch: oc.output(eventIterator(settingsSchema)),
  },
  /**
   * Opens the system's dialog for files or a folder; what is chosen may be named in other requests from then on.
   * None where it was closed. UNSUPPORTED where there is no dialog: see `canPick`.
   */
  pick: oc.input(pickSchema).output(z.object({ paths: z.array(pathSchema) })),
  /** Text to paste into a report: versions, machine, settings, the latest errors. No file names of the user's. */
  diagnostics: oc.output(z.object({ text: z.string() })),
};
