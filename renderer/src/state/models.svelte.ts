import { pulledFilesSchema, verifiedFilesSchema, type ModelsOverview } from '../../../main/contract/models-api.ts';
import type { VerifiedFile } from '../../../main/contract/models.ts';
import { hasEnded, type JobView } from '../../../main/contract/queue.ts';
import { api } from '../api/client.ts';
import { modelsOfInput, type ModelJob } from '../views/models/model-view.ts';
import { Answer } from './answer.svelte.ts';
import { notices } from './notices.svelte.ts';
import { queue } from './queue.svelte.ts';

/** Models as the app knows them, and the jobs that bring and check them. */
class Models {
  readonly overview = new Answer<ModelsOverview>();
  /** What the jobs are about: a view of a job doesn't say, and what it was given never changes. */
  #inputs = $state.raw<ReadonlyMap<number, readonly string[] | 'all'>>(new Map());
  /** By path, of the latest verification. */
  verified = $state.raw<ReadonlyMap<string, VerifiedFile>>(new Map());
  readonly #asked = new Set<string>();

  /** Reads this machine's folders again; asks no network. */
  refresh(): Promise<void> {
    return this.overview.ask(() => api.models.overview());
  }

  /** Jobs of both kinds with their models, the latest last. */
  get jobs(): readonly ModelJob[] {
    return [...queue.active, ...queue.finished]
      .filter(isOfModels)
      .sort((a, b) => a.id - b.id)
      .map((job) => ({ job, models: this.#inputs.get(job.id) ?? [] }));
  }

  /** To be called while the queue is seen: asks what new jobs are about, and what ended ones have changed. */
  async follow(jobs: readonly JobView[]): Promise<void> {
    for (const job of jobs.filter(isOfModels)) {
      const key = `${job.id} ${hasEnded(job.state) ? `${job.state} ${job.attempts}` : 'open'}`;
      if (this.#asked.has(key)) continue;
      this.#asked.add(key);
      await notices.attempt(() => this.#ask(job));
    }
  }

  async #ask({ id, kind }: JobView): Promise<void> {
    const { input, result, state } = await api.jobs.get({ id });
    this.#inputs = new Map([...this.#inputs, [id, modelsOfInput(input)]]);
    if (kind === 'verify' && state === 'done') this.#note(verifiedFilesSchema.parse(result).files);
    if (kind === 'download' && state === 'done') this.#forget(pulledFilesSchema.parse(result).files);
    if (hasEnded(state)) await this.refresh();
  }

  #note(files: readonly VerifiedFile[]): void {
    this.verified = new Map([...this.verified, ...files.map((file) => [file.path, file] as const)]);
  }

  /** A file that came anew is not the one that was looked at. */
  #forget(files: readonly { readonly path: string }[]): void {
    const gone = new Set(files.map(({ path }) => path));
    this.verified = new Map([...this.verified].filter(([path]) => !gone.has(path)));
  }
}

function isOfModels({ kind }: JobView): boolean {
  return kind === 'download' || kind === 'verify';
}

export const models = new Models();
