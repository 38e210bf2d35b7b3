import { I2lError } from '../../contract/errors.ts';
import { refusedBy } from './answers.ts';
import { refusal, shownUrl, type HttpClient, type HttpResponse } from './http.ts';
import type { RemoteFile } from './repository.ts';
import { credentialsOf, type HubSource } from './sources.ts';

/** An answer with bytes of the file: those from `start`, up to but without `end`. */
export interface RangeAnswer {
  readonly response: HttpResponse;
  readonly start: number;
  readonly end: number;
}

/**
 * Where a file's bytes are. The hub redirects to a signed link that lives for minutes or hours: it is used
 * until it is refused, then asked for anew. All answers have to be of the same content.
 */
export class FileLink {
  readonly #client: HttpClient;
  readonly #source: HubSource;
  readonly #file: RemoteFile;
  /** The signed link, while it is good. */
  #direct: string | undefined;
  /** ETag by address without query. */
  readonly #tags = new Map<string, string>();

  constructor(client: HttpClient, source: HubSource, file: RemoteFile) {
    this.#client = client;
    this.#source = source;
    this.#file = file;
  }

  /**
   * Asks for bytes of the file. A server that knows no ranges answers with the whole file.
   * @throws I2lError HUB_UNREACHABLE, HUB_RESPONSE, HUB_NOT_FOUND, RATE_LIMITED, TOKEN_REFUSED,
   * LICENCE_NOT_ACCEPTED, SOURCE_CHANGED, CANCELLED
   */
  async open(start: number, end: number, signal: AbortSignal): Promise<RangeAnswer> {
    const response = await this.#request({ range: `bytes=${start}-${end - 1}` }, signal);
    try {
      this.#checkContent(response);
      return { response, ...rangeOf(response, start, end, this.#file.size) };
    } catch (error) {
      response.body.destroy();
      throw error;
    }
  }

  async #request(headers: Record<string, string>, signal: AbortSignal): Promise<HttpResponse> {
    const direct = this.#direct;
    if (direct !== undefined) {
      const response = await this.#client.get(direct, { headers, signal });
      if (isSuccess(response)) return response;
      if (!EXPIRED.has(response.status)) throw refusedBy(this.#source, this.#file.repo, response);
      response.body.destroy();
      if (this.#direct === direct) this.#direct = undefined;
    }
    const credentials = credentialsOf(this.#source);
    const response = await this.#client.get(this.#file.url, { headers, signal, ...(credentials ? { credentials } : {}) });
    if (!isSuccess(response)) throw this.#refusedAfterRedirect(response) ?? refusedBy(this.#source, this.#file.repo, response);
    this.#checkLinked(response);
    if (response.redirect && new URL(response.url).origin !== new URL(this.#source.endpoint).origin) this.#direct = response.url;
    return response;
  }

  /** The storage behind the hub refuses a link that it has just been given: no question of tokens. */
  #refusedAfterRedirect(response: HttpResponse): I2lError | undefined {
    if (!response.redirect || !EXPIRED.has(response.status)) return undefined;
    response.body.destroy();
    return refusal(response.url, `a fresh link is refused with ${response.status}`, { status: response.status, transient: true });
  }

  /** What Hugging Face says of the content beside its redirect. */
  #checkLinked({ redirect }: HttpResponse): void {
    const { size, hash } = this.#file;
    const linkedSize = redirect?.['x-linked-size'];
    const linkedTag = plainTag(redirect?.['x-linked-etag']);
    if (linkedSize !== undefined && linkedSize !== String(size)) throw this.#changed(`its size is ${linkedSize} now, not ${size}`);
    if (hash.kind === 'sha256' && linkedTag !== undefined && /^[0-9a-f]{64}$/.test(linkedTag) && linkedTag !== hash.value) {
      throw this.#changed('its sha256 is another now');
    }
  }

  #checkContent({ url, headers }: HttpResponse): void {
    const type = headers['content-type'] ?? '';
    if (/^\s*text\/html/i.test(type))
      throw refusal(url, 'it is a web page, not the file; a network that asks for a log-in answers so');
    const encoding = headers['content-encoding'] ?? 'identity';
    if (encoding !== 'identity') throw refusal(url, `its bytes are packed (${encoding}), and were asked for as they are`);
    const tag = headers['etag'];
    const place = shownUrl(url);
    const before = this.#tags.get(place);
    if (tag !== undefined && before !== undefined && tag !== before) throw this.#changed('its ETag is another than before');
    if (tag !== undefined) this.#tags.set(place, tag);
  }

  #changed(why: string): I2lError {
    const { repo, path } = this.#file;
    const message = `${path} of ${repo} changed while it was downloaded: ${why}. Start again.`;
    return new I2lError('SOURCE_CHANGED', message, { repo, path, why });
  }
}

const EXPIRED = new Set([400, 401, 403, 404, 410]);

function isSuccess({ status }: HttpResponse): boolean {
  return status === 200 || status === 206 || status === 416;
}

function plainTag(tag: string | undefined): string | undefined {
  return tag?.replace(/^W\//, '').replaceAll('"', '');
}

/** Which bytes an answer has. @throws I2lError HUB_RESPONSE, SOURCE_CHANGED */
function rangeOf({ status, headers, url }: HttpResponse, start: number, end: number, size: number): { start: number; end: number } {
  if (status === 416) throw refusal(url, `it has no bytes from ${start}; the file is shorter than announced`);
  const length = headers['content-length'];
  if (status === 200) {
    if (length !== undefined && length !== String(size)) throw refusal(url, `it has ${length} bytes, and the file ${size}`);
    return { start: 0, end: size };
  }
  const text = headers['content-range'] ?? '';
  const [, from, to, total] = /^\s*bytes (\d+)-(\d+)\/(\d+|\*)\s*$/i.exec(text) ?? [];
  if (from === undefined || to === undefined || total === undefined)
    throw refusal(url, `it doesn't say which bytes it has`, { transient: true });
  if (total !== '*' && total !== String(size)) throw refusal(url, `it is of a file of ${total} bytes, and the file has ${size}`);
  const last = Number(to);
  // A server may send less than was asked for, never other bytes.
  if (Number(from) !== start || last >= end || last < start)
    throw refusal(url, `bytes ${start} to ${end - 1} were asked for, and it has ${from} to ${to}`, { transient: true });
  if (length !== undefined && length !== String(last - start + 1))
    throw refusal(url, `its length is ${length}, and its range says ${last - start + 1}`, { transient: true });
  return { start, end: last + 1 };
}
