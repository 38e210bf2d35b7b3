import { I2lError, type ErrorCode } from '../../contract/errors.ts';
import { note, type Note } from '../../contract/notes.ts';
import type { CatalogueEntry } from '../catalogue.ts';
import type { HttpClient } from './http.ts';
import { probeSources } from './probe.ts';
import { readRepository, type RemoteRepository } from './repository.ts';
import { HUB_TITLES, type HubSource } from './sources.ts';

/** Failures of a source that another one may not have. */
const OF_THE_SOURCE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'HUB_UNREACHABLE',
  'HUB_RESPONSE',
  'HUB_NOT_FOUND',
  'RATE_LIMITED',
  'TOKEN_REFUSED',
  'LICENCE_NOT_ACCEPTED',
  'HASH_MISMATCH',
  'SOURCE_CHANGED',
]);

interface RepositoriesOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onNote?: ((note: Note) => void) | undefined;
}

/** The repositories of a pull: each is asked once, of the quickest source that answers. */
export class Repositories {
  readonly #client: HttpClient;
  readonly #options: RepositoriesOptions;
  #sources: readonly HubSource[];
  #isOrdered: boolean;
  readonly #known = new Map<string, RemoteRepository>();

  constructor(client: HttpClient, sources: readonly HubSource[], options: RepositoriesOptions) {
    this.#client = client;
    this.#sources = sources;
    this.#isOrdered = sources.length < 2;
    this.#options = options;
  }

  /** @throws I2lError what the first source failed with, if all do */
  async of(model: CatalogueEntry): Promise<RemoteRepository> {
    if (!this.#isOrdered) await this.#order(model);
    return this.#firstOf(model, this.#sources);
  }

  /** Asks the same source anew. */
  async again(model: CatalogueEntry, { source }: RemoteRepository): Promise<RemoteRepository> {
    this.#known.delete(keyOf(source, model));
    return this.#read(source, model);
  }

  /** The repository on the next source, where that may help. */
  async after(model: CatalogueEntry, { source }: RemoteRepository, error: I2lError): Promise<RemoteRepository | undefined> {
    if (!OF_THE_SOURCE.has(error.code) || this.#options.signal?.aborted) return undefined;
    const rest = this.#sources.slice(this.#sources.indexOf(source) + 1);
    return rest.length === 0 ? undefined : this.#firstOf(model, rest).catch(() => undefined);
  }

  async #order(model: CatalogueEntry): Promise<void> {
    const { signal, onNote } = this.#options;
    const path = model.parts[0] ?? model.file;
    const probes = await probeSources(this.#client, this.#sources, ({ hub }) => model.hubs[hub], path, signal);
    for (const { repository } of probes) if (repository) this.#known.set(keyOf(repository.source, model), repository);
    this.#isOrdered = true;
    this.#sources = probes.map(({ source }) => source);
    const [best] = probes;
    if (best?.repository) onNote?.(quickest(best.source));
  }

  async #firstOf(model: CatalogueEntry, sources: readonly HubSource[]): Promise<RemoteRepository> {
    let first: I2lError | undefined;
    for (const source of sources) {
      try {
        return await this.#read(source, model);
      } catch (error) {
        const known = I2lError.from(error);
        if (!OF_THE_SOURCE.has(known.code)) throw known;
        first ??= known;
      }
    }
    throw first ?? new I2lError('BAD_ARGUMENT', 'There is no source to download from.', { option: 'source' });
  }

  async #read(source: HubSource, model: CatalogueEntry): Promise<RemoteRepository> {
    const key = keyOf(source, model);
    const known =
      this.#known.get(key) ?? (await readRepository(this.#client, source, model.hubs[source.hub], this.#options.signal));
    this.#known.set(key, known);
    return known;
  }
}

function quickest({ hub: name, endpoint: source }: HubSource): Note {
  const hub = HUB_TITLES[name];
  return note('SOURCE_QUICKEST', `${hub} answers quickest (${source}).`, { hub, source });
}

function keyOf(source: HubSource, model: CatalogueEntry): string {
  return `${source.endpoint} ${model.hubs[source.hub]}`;
}
