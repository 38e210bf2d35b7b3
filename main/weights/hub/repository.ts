import { z } from 'zod';
import { I2lError } from '../../contract/errors.ts';
import { readJson, refusedBy } from './answers.ts';
import { refusal, shownUrl, type HttpClient, type HttpResponse } from './http.ts';
import { credentialsOf, HUB_TITLES, type HubSource } from './sources.ts';

/** A file as a hub's API describes it. */
export interface RemoteFile {
  readonly repo: string;
  /** Within the repository. */
  readonly path: string;
  readonly size: number;
  /** What its content has to hash to: of large files the sha256, of Hugging Face's small ones git's own id. */
  readonly hash: ContentHash;
  /** The hub's address for it; it redirects to where the bytes are. */
  readonly url: string;
}

export interface ContentHash {
  readonly kind: 'sha256' | 'git-sha1';
  /** Hex. */
  readonly value: string;
}

export interface RemoteRepository {
  readonly source: HubSource;
  readonly repo: string;
  /** The commit, or the branch where the hub doesn't say. */
  readonly revision: string;
  readonly licence: string | undefined;
  /** Its owners want their terms accepted before anything is downloaded. */
  readonly gated: boolean;
  readonly files: ReadonlyMap<string, RemoteFile>;
}

/** A repository of a million files would have a listing of this size. */
const MOST_LISTING_BYTES = 64_000_000;
const HEX = { sha256: /^[0-9a-f]{64}$/, sha1: /^[0-9a-f]{40}$/ };

/**
 * What a hub says of a repository: one request (ModelScope: two), and nothing is downloaded.
 * @throws I2lError HUB_UNREACHABLE, HUB_RESPONSE, HUB_NOT_FOUND, TOKEN_REFUSED, LICENCE_NOT_ACCEPTED, RATE_LIMITED, CANCELLED
 */
export async function readRepository(
  client: HttpClient,
  source: HubSource,
  repo: string,
  signal?: AbortSignal,
): Promise<RemoteRepository> {
  return source.hub === 'huggingface'
    ? readHuggingFace(client, source, repo, signal)
    : readModelScope(client, source, repo, signal);
}

/** @throws I2lError HUB_NOT_FOUND */
export function fileOf({ files, repo, source }: RemoteRepository, path: string): RemoteFile {
  const file = files.get(path);
  if (file) return file;
  const message = `${path} is not in ${repo} on ${HUB_TITLES[source.hub]}; it may have been moved. Try another source.`;
  throw new I2lError('HUB_NOT_FOUND', message, { source: shownUrl(source.endpoint), repo, path });
}

/** https://huggingface.co/docs/hub/api: GET /api/models/{repo}/revision/{revision}?blobs=true */
const huggingFaceSchema = z.object({
  sha: z.string().regex(HEX.sha1),
  gated: z.union([z.boolean(), z.string()]).optional(),
  cardData: z.object({ license: z.union([z.string(), z.array(z.string())]).optional() }).nullish(),
  siblings: z.array(
    z.object({
      rfilename: z.string(),
      size: z.int().nonnegative().optional(),
      blobId: z.string().regex(HEX.sha1).optional(),
      lfs: z.object({ sha256: z.string().regex(HEX.sha256), size: z.int().nonnegative() }).nullish(),
    }),
  ),
});

async function readHuggingFace(
  client: HttpClient,
  source: HubSource,
  repo: string,
  signal: AbortSignal | undefined,
): Promise<RemoteRepository> {
  const response = await ask(
    client,
    source,
    repo,
    `${source.endpoint}/api/models/${pathOf(repo)}/revision/main?blobs=true`,
    signal,
  );
  const { sha, gated, cardData, siblings } = await parsed(response, huggingFaceSchema, signal);
  const files = siblings.flatMap(({ rfilename, size, blobId, lfs }): RemoteFile[] => {
    const hash: ContentHash | undefined = lfs
      ? { kind: 'sha256', value: lfs.sha256 }
      : blobId === undefined
        ? undefined
        : { kind: 'git-sha1', value: blobId };
    const bytes = lfs?.size ?? size;
    if (hash === undefined || bytes === undefined) return [];
    // By commit, so that every request of a download means the same content.
    return [
      { repo, path: rfilename, size: bytes, hash, url: `${source.endpoint}/${pathOf(repo)}/resolve/${sha}/${pathOf(rfilename)}` },
    ];
  });
  const [licence] = [cardData?.license].flat();
  return { source, repo, revision: sha, licence, gated: gated !== undefined && gated !== false, files: byPath(files) };
}

/** As modelscope_hub's _legacy_api.py asks: GET /api/v1/models/{repo}/repo/files?Revision=&Recursive= */
const modelScopeFilesSchema = z.object({
  Data: z.object({
    Files: z.array(
      z.object({
        Path: z.string(),
        Type: z.string().optional(),
        Size: z.int().nonnegative().optional(),
        Sha256: z.string().nullish(),
      }),
    ),
  }),
});

/** GET /api/v1/models/{repo} */
const modelScopeInfoSchema = z.object({ Data: z.object({ License: z.string().nullish() }) });
const MODELSCOPE_BRANCH = 'master';

async function readModelScope(
  client: HttpClient,
  source: HubSource,
  repo: string,
  signal: AbortSignal | undefined,
): Promise<RemoteRepository> {
  const api = `${source.endpoint}/api/v1/models/${pathOf(repo)}`;
  const [listing, info] = await Promise.all([
    ask(client, source, repo, `${api}/repo/files?Revision=${MODELSCOPE_BRANCH}&Recursive=True`, signal).then((response) =>
      parsed(response, modelScopeFilesSchema, signal),
    ),
    ask(client, source, repo, api, signal).then((response) => parsed(response, modelScopeInfoSchema, signal)),
  ]);
  const files = listing.Data.Files.flatMap(({ Path, Type, Size, Sha256 }): RemoteFile[] => {
    const value = Sha256?.toLowerCase() ?? '';
    if (Type === 'tree' || Size === undefined || !HEX.sha256.test(value)) return [];
    const url = `${api}/repo?Revision=${MODELSCOPE_BRANCH}&FilePath=${encodeURIComponent(Path)}`;
    return [{ repo, path: Path, size: Size, hash: { kind: 'sha256', value }, url }];
  });
  const licence = info.Data.License || undefined;
  return { source, repo, revision: MODELSCOPE_BRANCH, licence, gated: false, files: byPath(files) };
}

async function ask(
  client: HttpClient,
  source: HubSource,
  repo: string,
  url: string,
  signal: AbortSignal | undefined,
): Promise<HttpResponse> {
  const credentials = credentialsOf(source);
  const response = await client.get(url, {
    headers: { accept: 'application/json' },
    signal,
    ...(credentials ? { credentials } : {}),
  });
  if (response.status !== 200) throw refusedBy(source, repo, response);
  return response;
}

async function parsed<T>(response: HttpResponse, schema: z.ZodType<T>, signal: AbortSignal | undefined): Promise<T> {
  const result = schema.safeParse(await readJson(response, MOST_LISTING_BYTES, signal));
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw refusal(response.url, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not as expected'}`);
}

function byPath(files: readonly RemoteFile[]): Map<string, RemoteFile> {
  return new Map(files.map((file) => [file.path, file]));
}

function pathOf(text: string): string {
  return text.split('/').map(encodeURIComponent).join('/');
}
