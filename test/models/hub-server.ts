import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * A server that answers as both hubs do, and a second one, at another origin, for the storage that they
 * redirect to. The shapes are those that huggingface_hub 2.4 and modelscope_hub 0.5 read. What it is told to,
 * it does wrong: a fault sees every request before the server does.
 */
export interface Content {
  readonly size: number;
  readonly sha256: string;
  read(start: number, end: number): Uint8Array;
}

export interface StoredFile {
  readonly repo: string;
  readonly path: string;
  /** Large files lie in the storage, small ones in git. */
  readonly lfs: boolean;
  content: Content;
  /** What the API says of it; the content's own unless a test lies. */
  said: { size: number; sha256: string };
}

export interface Asked {
  readonly server: 'hub' | 'storage';
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
}

export interface Exchange extends Asked {
  /** Of this server, from 1. */
  readonly number: number;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** For a request of a file's bytes. */
  readonly file: StoredFile | undefined;
  readonly range: { readonly start: number; readonly end: number } | undefined;
}

/** @returns true if it has answered */
export type Fault = (exchange: Exchange) => boolean | undefined | Promise<boolean | undefined>;

export class HubServer {
  readonly files = new Map<string, StoredFile>();
  readonly asked: Asked[] = [];
  readonly #servers: Server[] = [];
  fault: Fault = () => false;
  /** Repositories with terms to accept, and the token of one who did. */
  gated = new Map<string, string>();
  commit = 'c0ffee'.padEnd(40, '0');
  /** Signed links that the storage takes. */
  readonly #links = new Set<string>();
  #signed = 0;
  hubUrl = '';
  storageUrl = '';
  /** Where the storage's links point; its own origin unless a test says otherwise. */
  linkBase = '';

  static async start(): Promise<HubServer> {
    const hub = new HubServer();
    hub.hubUrl = await hub.#listen('hub');
    hub.storageUrl = hub.linkBase = await hub.#listen('storage');
    return hub;
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  add(repo: string, path: string, bytes: Uint8Array | Content, lfs = true): StoredFile {
    const content = 'read' in bytes ? bytes : contentOf(bytes);
    const file: StoredFile = { repo, path, lfs, content, said: { size: content.size, sha256: content.sha256 } };
    this.files.set(`${repo}/${path}`, file);
    return file;
  }

  /** All links that were given out are refused from now on. */
  expireLinks(): void {
    this.#links.clear();
  }

  requestsTo(server: Asked['server']): Asked[] {
    return this.asked.filter((asked) => asked.server === server);
  }

  #listen(name: Asked['server']): Promise<string> {
    const server = createServer((request, response) => void this.#answer(name, request, response));
    this.#servers.push(server);
    return new Promise((resolve) => {
      server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
    });
  }

  async #answer(server: Asked['server'], request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.hubUrl || 'http://127.0.0.1');
    const path = decodeURIComponent(url.pathname);
    const asked: Asked = { server, path, query: url.searchParams, headers: request.headers };
    this.asked.push(asked);
    const file = this.#fileOf(asked);
    const number = this.requestsTo(server).length;
    const exchange: Exchange = { ...asked, number, request, response, file, range: file && rangeOf(request, file.content.size) };
    response.on('error', () => undefined);
    if ((await this.fault(exchange)) || response.destroyed) return;
    if (server === 'storage') this.#storage(exchange);
    else if (path.startsWith('/api/v1/')) this.#modelScope(exchange);
    else this.#huggingFace(exchange);
  }

  #fileOf({ server, path, query }: Asked): StoredFile | undefined {
    if (server === 'storage') return this.files.get(path.slice(1));
    const modelScope = /^\/api\/v1\/models\/([^/]+\/[^/]+)\/repo$/.exec(path);
    if (modelScope) return this.files.get(`${modelScope[1]}/${query.get('FilePath')}`);
    const [, repo, file] = /^(?:\/api\/resolve-cache\/models)?\/([^/]+\/[^/]+)\/(?:resolve\/)?[0-9a-f]{40}\/(.+)$/.exec(path) ?? [];
    return this.files.get(`${repo}/${file}`);
  }

  #huggingFace({ path, query, request, response, file, range }: Exchange): void {
    const listing = /^\/api\/models\/([^/]+\/[^/]+)\/revision\/main$/.exec(path)?.[1];
    if (listing !== undefined) {
      const siblings = this.#listed(listing).map(({ path: name, lfs, said, content }) => ({
        rfilename: name,
        size: said.size,
        blobId: lfs ? 'b'.repeat(40) : gitId(content),
        ...(lfs && query.get('blobs') === 'true' ? { lfs: { sha256: said.sha256, size: said.size, pointerSize: 135 } } : {}),
      }));
      if (siblings.length === 0) return sendError(response, 401, 'RepoNotFound');
      const gated = this.gated.has(listing) ? 'manual' : false;
      return sendJson(response, 200, {
        _id: '1',
        id: listing,
        sha: this.commit,
        private: false,
        gated,
        cardData: { license: 'apache-2.0' },
        siblings,
      });
    }
    if (!file) return sendError(response, 404, 'EntryNotFound');
    const token = this.gated.get(file.repo);
    if (token !== undefined && request.headers.authorization !== `Bearer ${token}`) return sendError(response, 401, 'GatedRepo');
    if (path.startsWith('/api/resolve-cache/')) return sendFile(response, file, range, `"${gitId(file.content)}"`);
    const to = file.lfs ? this.link(file) : path.replace(/^\/([^/]+\/[^/]+)\/resolve\//, '/api/resolve-cache/models/$1/');
    response.writeHead(file.lfs ? 302 : 307, {
      location: to,
      'x-repo-commit': this.commit,
      ...(file.lfs ? { 'x-linked-etag': `"${file.said.sha256}"`, 'x-linked-size': String(file.said.size) } : {}),
    });
    response.end('redirected');
  }

  #modelScope({ path, response, file, range }: Exchange): void {
    const [, repo = '', rest] = /^\/api\/v1\/models\/([^/]+\/[^/]+)(\/repo(?:\/files)?)?$/.exec(path) ?? [];
    const listed = this.#listed(repo);
    const answer = (data: object): void =>
      sendJson(response, 200, { Code: 200, Data: data, Message: 'success', RequestId: '1', Success: true });
    if (listed.length === 0) return sendJson(response, 404, { Code: 10010205001, Message: 'record not found', Success: false });
    if (rest === undefined) return answer({ Path: repo, License: 'Apache License 2.0' });
    if (rest === '/repo/files') {
      const folders = [...new Set(listed.map((item) => item.path).filter((name) => name.includes('/')))].map(
        (name) => name.split('/')[0],
      );
      return answer({
        Files: [
          ...folders.map((name) => ({ Name: name, Path: name, Type: 'tree', Size: 0, Sha256: '', IsLFS: false })),
          ...listed.map((item) => ({
            Name: item.path.split('/').at(-1),
            Path: item.path,
            Type: 'blob',
            Size: item.said.size,
            Sha256: item.said.sha256,
            IsLFS: item.lfs,
          })),
        ],
      });
    }
    if (!file) return sendJson(response, 404, { Code: 10990101013, Message: 'the file does not exist', Success: false });
    if (!file.lfs) return sendFile(response, file, range, `"${file.content.sha256}"`);
    response.writeHead(302, { location: this.link(file) }).end();
  }

  #storage({ query, response, file, range }: Exchange): void {
    if (!this.#links.has(query.get('X-Amz-Signature') ?? ''))
      return void response.writeHead(403, { 'content-type': 'application/xml' }).end('<Error/>');
    if (!file) return void response.writeHead(404).end();
    sendFile(response, file, range, `"${file.content.sha256}"`);
  }

  link(file: StoredFile): string {
    const signature = `s${++this.#signed}`;
    this.#links.add(signature);
    return `${this.linkBase}/${file.repo}/${file.path}?X-Amz-Expires=3600&X-Amz-Signature=${signature}`;
  }

  #listed(repo: string): StoredFile[] {
    return [...this.files.values()].filter((file) => file.repo === repo);
  }
}

export function contentOf(bytes: Uint8Array): Content {
  return {
    size: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
    read: (start, end) => bytes.subarray(start, end),
  };
}

export function gitId({ size, read }: Content): string {
  return createHash('sha1').update(`blob ${size}\0`).update(read(0, size)).digest('hex');
}

/** Sends the bytes that were asked for, as a good server does. */
export function sendFile(response: ServerResponse, { content }: StoredFile, range: Exchange['range'], etag: string): void {
  const { start, end } = range ?? { start: 0, end: content.size };
  if (range && start >= content.size) return void response.writeHead(416, { 'content-range': `bytes */${content.size}` }).end();
  response.writeHead(range ? 206 : 200, {
    'content-type': 'binary/octet-stream',
    'content-length': end - start,
    'accept-ranges': 'bytes',
    etag,
    ...(range ? { 'content-range': `bytes ${start}-${end - 1}/${content.size}` } : {}),
  });
  sendSlowly(response, content, start, end);
}

/** In pieces, as fast as they are taken, so that a large file is never in memory. */
function sendSlowly(response: ServerResponse, content: Content, start: number, end: number): void {
  const piece = 1 << 18;
  let at = start;
  const more = (): void => {
    while (at < end) {
      const next = Math.min(end, at + piece);
      const goesOn = response.write(content.read(at, next));
      at = next;
      if (!goesOn) return void response.once('drain', more);
    }
    response.end();
  };
  more();
}

function rangeOf(request: IncomingMessage, size: number): Exchange['range'] {
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  if (from === undefined) return undefined;
  return { start: Number(from), end: Math.min(size, to ? Number(to) + 1 : size) };
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function sendError(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { 'content-type': 'application/json', 'x-error-code': code }).end(JSON.stringify({ error: code }));
}
