import { I2lError } from '../../contract/errors.ts';
import { FileLink } from './file-link.ts';
import type { HttpClient } from './http.ts';
import { fileOf, readRepository, type RemoteRepository } from './repository.ts';
import type { HubSource } from './sources.ts';
import { chunksOf, STALL_TIMES } from './stalls.ts';

/** How a hub did in a try. */
export interface Probe {
  readonly source: HubSource;
  /** What it said of the repository; undefined if it failed. */
  readonly repository: RemoteRepository | undefined;
  readonly milliseconds: number;
  readonly error?: I2lError;
}

/** Enough to tell a slow line from a fast one, and no more than a picture of a web page. */
const PROBE_BYTES = 512 * 1024;
const MOST_MS = 15_000;

/**
 * Asks every source for the repository and the first bytes of a file, at the same time.
 * @param repoOf the repository's name on each hub. @returns the quickest first, those that failed last
 * @throws I2lError CANCELLED
 */
export async function probeSources(
  client: HttpClient,
  sources: readonly HubSource[],
  repoOf: (source: HubSource) => string,
  path: string,
  signal?: AbortSignal,
): Promise<Probe[]> {
  const probes = await Promise.all(sources.map((source) => probe(client, source, repoOf(source), path, signal)));
  if (signal?.aborted) throw new I2lError('CANCELLED', 'Cancelled.');
  const rank = ({ repository, milliseconds }: Probe): number => (repository ? milliseconds : Infinity);
  return probes.toSorted((a, b) => (rank(a) === rank(b) ? 0 : rank(a) - rank(b)));
}

async function probe(client: HttpClient, source: HubSource, repo: string, path: string, signal?: AbortSignal): Promise<Probe> {
  const start = performance.now();
  const limited = AbortSignal.any([AbortSignal.timeout(MOST_MS), ...(signal ? [signal] : [])]);
  const milliseconds = (): number => performance.now() - start;
  try {
    const repository = await readRepository(client, source, repo, limited);
    const file = fileOf(repository, path);
    const { response } = await new FileLink(client, source, file).open(0, Math.min(PROBE_BYTES, file.size), limited);
    let bytes = 0;
    for await (const chunk of chunksOf(response, STALL_TIMES, limited)) {
      bytes += chunk.length;
      // A server without ranges would send all of it.
      if (bytes >= PROBE_BYTES) break;
    }
    return { source, repository, milliseconds: milliseconds() };
  } catch (error) {
    return { source, repository: undefined, milliseconds: milliseconds(), error: I2lError.from(error) };
  }
}
