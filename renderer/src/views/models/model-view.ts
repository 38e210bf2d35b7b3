import type { ModelsOverview } from '../../../../main/contract/models-api.ts';
import type { ModelView, VerifiedFile } from '../../../../main/contract/models.ts';
import type { Dictionary } from '../../i18n/en/index.ts';
import { hasEnded, type JobView } from '../../../../main/contract/queue.ts';

/** A download or a verification, and the models that it is about. */
export interface ModelJob {
  readonly job: JobView;
  readonly models: readonly string[] | 'all';
}

export type RowState =
  'ready' | 'missing' | 'partial' | 'queued' | 'downloading' | 'paused' | 'verifying' | 'failed' | 'damaged' | 'random' | 'sizes';

export function modelsOfInput(input: unknown): readonly string[] | 'all' {
  const listed: unknown = typeof input === 'object' && input !== null && 'models' in input ? input.models : undefined;
  return Array.isArray(listed) ? listed.filter((id) => typeof id === 'string') : 'all';
}

/** The job that a model waits for or is in, or else the last one that ended. */
export function jobOf(model: ModelView, jobs: readonly ModelJob[]): JobView | undefined {
  const own = jobs.filter(({ models, job }) =>
    models === 'all' ? model.state === 'here' && job.kind === 'verify' : models.includes(model.id),
  );
  return (own.find(({ job }) => !hasEnded(job.state)) ?? own.at(-1))?.job;
}

/** What there is to say of a model first. */
export function stateOf(model: ModelView, job: JobView | undefined, verified: ReadonlyMap<string, VerifiedFile>): RowState {
  if (job && !hasEnded(job.state)) {
    if (job.kind === 'download' && model.state !== 'here') return stateOfDownload(model, job);
    if (job.kind === 'verify' && job.state === 'running' && model.state === 'here') return 'verifying';
  }
  if (model.state !== 'here') return job?.kind === 'download' && job.state === 'failed' ? 'failed' : model.state;
  if (model.found?.files.some((path) => verified.get(path)?.state === 'damaged')) return 'damaged';
  if (model.found?.synthetic) return 'random';
  return model.found?.variant === 'other-sizes' ? 'sizes' : 'ready';
}

function stateOfDownload({ id }: ModelView, { state, progress }: JobView): RowState {
  if (state === 'paused' || state === 'pausing') return 'paused';
  return state === 'running' && progress?.step === id ? 'downloading' : 'queued';
}

/** Whether a download of a model could be begun now. */
export function canDownload(model: ModelView, jobs: readonly ModelJob[]): boolean {
  const job = jobOf(model, jobs);
  return model.state !== 'here' && !(job?.kind === 'download' && !hasEnded(job.state));
}

/** Those of an expert that are neither here nor on their way. */
export function lackingOf(ids: readonly string[], { models }: ModelsOverview, jobs: readonly ModelJob[]): ModelView[] {
  return models.filter((model) => ids.includes(model.id) && canDownload(model, jobs));
}

/** Licences that have to be agreed to before these models come, each once. */
export function licencesOf(models: readonly ModelView[]): ModelView['licence'][] {
  const asked = models.map(({ licence }) => licence).filter(({ mustAccept }) => mustAccept);
  return [...new Map(asked.map((licence) => [licence.id, licence])).values()];
}

export function bytesToCome(models: readonly ModelView[]): number {
  return models.reduce((sum, { missingBytes }) => sum + missingBytes, 0);
}

/** 'qwen-image/style' as it is called. */
export function expertName(name: string, words: Dictionary['models']): string {
  const [target = '', expert = ''] = name.split('/');
  const targets: Readonly<Record<string, string>> = words.targets;
  const experts: Readonly<Record<string, string>> = words.expertNames;
  return `${targets[target] ?? target} ${experts[expert] ?? expert}`;
}

/** What a published model is called. */
export function modelName({ id, title }: Pick<ModelView, 'id' | 'title'>, words: Dictionary['models']): string {
  const names: Readonly<Record<string, string>> = words.names;
  return names[id] ?? title;
}
