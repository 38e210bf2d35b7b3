import { DEFAULT_SETTINGS, type AppInfo, type Settings } from '../../../../main/contract/app.ts';
import { EXPERTS_OF, type ExpertName, type TargetId } from '../../../../main/contract/experts.ts';
import type { CreateJob, ExpertChoice } from '../../../../main/contract/job.ts';

/** What the user has chosen on the Create screen, before it is a job. */
export interface Draft {
  /** As typed: one path a line. */
  readonly paths: string;
  readonly name: string;
  readonly target: TargetId;
  readonly experts: Readonly<Record<ExpertName, { readonly on: boolean; readonly strength: number }>>;
  readonly skipBad: boolean;
}

/** Each line once; quotes that file managers put around a copied path are taken off. */
export function imagesOf(paths: string): string[] {
  const lines = paths.split('\n').map((line) => line.trim().replace(/^(["'])(.*)\1$/, '$2'));
  return [...new Set(lines.filter((line) => line !== ''))];
}

/** Those that are on and that the target has. */
export function expertsOf({ target, experts }: Pick<Draft, 'target' | 'experts'>): ExpertChoice[] {
  return EXPERTS_OF[target].filter((name) => experts[name].on).map((name) => ({ name, strength: experts[name].strength }));
}

/** The first thing that a draft lacks. */
export function lackOf(draft: Draft): 'images' | 'name' | 'experts' | undefined {
  if (imagesOf(draft.paths).length === 0) return 'images';
  if (expertsOf(draft).length === 0) return 'experts';
  return fileNameOf(draft.name) === '' ? 'name' : undefined;
}

/** A name as a file's name: without what Windows, macOS or Linux refuse. */
export function fileNameOf(name: string): string {
  return name
    .trim()
    .replace(/[<>:"/\\|?*\p{Cc}]/gu, '-')
    .replace(/[. ]+$/, '')
    .slice(0, 120);
}

export function outputOf({ dataFolder, platform }: Pick<AppInfo, 'dataFolder' | 'platform'>, name: string): string {
  const separator = platform === 'win32' ? '\\' : '/';
  return [dataFolder, 'loras', `${fileNameOf(name)}.safetensors`].join(separator);
}

export function jobOf(draft: Draft, info: AppInfo, settings: Settings = DEFAULT_SETTINGS): CreateJob {
  const images = imagesOf(draft.paths).map((file) => ({ file, weight: 1 }));
  const { memory, device, threads, embeddingCacheBytes } = settings;
  const separator = info.platform === 'win32' ? '\\' : '/';
  return {
    kind: 'create',
    sets: [{ output: outputOf(info, draft.name), images }],
    target: draft.target,
    experts: expertsOf(draft),
    skipBad: draft.skipBad,
    cache: { folder: [info.dataFolder, 'cache', 'embeddings'].join(separator), limit: embeddingCacheBytes },
    dtype: 'bf16',
    keyForm: 'comfyui',
    memory,
    device,
    threads,
  };
}
