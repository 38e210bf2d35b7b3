import { EnvHttpProxyAgent, request, type Dispatcher } from 'undici';
import { I2lError, systemCode } from '../../contract/errors.ts';

/**
 * The only door to the network for models: nothing here runs unless a download, a probe or a look at a hub
 * was asked for. Proxies come from the environment (http_proxy, https_proxy, no_proxy).
 */
export interface HttpResponse {
  readonly status: number;
  /** Names in lower case; of several values the first. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Where the redirects ended. */
  readonly url: string;
  /** The first answer's headers, if it was a redirect: hubs say there what they redirect to. */
  readonly redirect: Readonly<Record<string, string | undefined>> | undefined;
  readonly body: AsyncIterable<Uint8Array> & { destroy(error?: Error): unknown };
}

export interface GetOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent to this origin alone, wherever redirects lead. */
  readonly credentials?: { readonly origin: string; readonly headers: Readonly<Record<string, string>> };
  readonly signal?: AbortSignal | undefined;
}

export interface HttpTimes {
  readonly connectMs: number;
  /** Until an answer begins. */
  readonly answerMs: number;
}

const MOST_REDIRECTS = 8;

export class HttpClient {
  readonly #agent: Dispatcher;
  readonly #times: HttpTimes;

  constructor(times: HttpTimes = { connectMs: 15_000, answerMs: 30_000 }) {
    this.#times = times;
    // A body's pauses are watched where it is read: see stalls.ts.
    this.#agent = new EnvHttpProxyAgent({ connect: { timeout: times.connectMs }, headersTimeout: times.answerMs, bodyTimeout: 0 });
  }

  /**
   * GET, with redirects followed and the body not yet read: read it or destroy it.
   * @throws I2lError HUB_UNREACHABLE, HUB_RESPONSE (redirects that lead nowhere), CANCELLED
   */
  async get(url: string, options: GetOptions = {}): Promise<HttpResponse> {
    const seen = new Set<string>();
    let current = url;
    let redirect: HttpResponse['redirect'];
    for (;;) {
      const answer = await this.#send(current, options);
      const target = REDIRECTS.has(answer.statusCode) ? firstOf(answer.headers['location']) : undefined;
      const headers = flat(answer.headers);
      if (target === undefined) return { status: answer.statusCode, headers, url: current, redirect, body: answer.body };
      // Short, and the connection can be used again.
      await answer.body.dump();
      redirect ??= headers;
      seen.add(current);
      current = nextUrl(current, target, seen);
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #send(url: string, { headers = {}, credentials, signal }: GetOptions): Promise<Dispatcher.ResponseData> {
    const trusted = credentials && new URL(url).origin === credentials.origin ? credentials.headers : {};
    try {
      const answer = await request(url, {
        dispatcher: this.#agent,
        // The bytes are hashed and placed as they are in the file.
        headers: { 'user-agent': 'i2l-studio', 'accept-encoding': 'identity', ...headers, ...trusted },
        headersTimeout: this.#times.answerMs,
        signal: signal ?? null,
      });
      // Whoever reads it is told of errors there; one that is thrown away has nobody to tell.
      answer.body.on('error', () => undefined);
      return answer;
    } catch (error) {
      throw networkError(url, error, signal);
    }
  }
}

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

function nextUrl(current: string, location: string, seen: ReadonlySet<string>): string {
  if (!URL.canParse(location, current)) throw refusal(current, 'it redirects to something that is no address');
  const next = new URL(location, current);
  const secure = next.protocol === 'https:' || (next.protocol === 'http:' && new URL(current).protocol === 'http:');
  if (!secure) throw refusal(current, `it redirects to ${next.protocol}//, which is not safe`);
  if (seen.has(next.href)) throw refusal(current, 'its redirects go in a circle');
  if (seen.size >= MOST_REDIRECTS) throw refusal(current, `it redirects more than ${MOST_REDIRECTS} times`);
  return next.href;
}

/** An answer that is no use; `transient` if the same request may do better later. */
export function refusal(
  url: string,
  why: string,
  { transient = false, status }: { transient?: boolean; status?: number } = {},
): I2lError {
  const source = shownUrl(url);
  const message = `${source}: the answer can't be used: ${why}.`;
  return new I2lError('HUB_RESPONSE', message, { source, why, transient, ...(status === undefined ? {} : { status }) });
}

/** A connection that failed, before or in the middle of an answer. */
export function networkError(url: string, error: unknown, signal?: AbortSignal): I2lError {
  if (error instanceof I2lError) return error;
  if (signal?.aborted) return cancelled();
  const source = originOf(url);
  const code = systemCode(error) ?? (error instanceof AggregateError ? systemCode(error.errors[0]) : undefined);
  const why = REASONS[code ?? ''] ?? (error instanceof Error ? error.message : String(error));
  const message = `${source}: it can't be reached (${why}). Check the connection, or choose another source.`;
  return new I2lError('HUB_UNREACHABLE', message, { source, transient: true, ...(code ? { system: code } : {}) }, error);
}

const REASONS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'there is no such host, or no connection to the internet',
  EAI_AGAIN: 'the name could not be looked up; is there a connection to the internet?',
  ECONNREFUSED: 'the connection was refused',
  ECONNRESET: 'the connection was cut',
  UND_ERR_SOCKET: 'the connection was cut',
  UND_ERR_CONNECT_TIMEOUT: 'nobody answered in time',
  UND_ERR_HEADERS_TIMEOUT: 'no answer came in time',
  UND_ERR_INVALID_ARG: 'the address is not a usable one',
};

export function cancelled(): I2lError {
  return new I2lError('CANCELLED', 'Cancelled.');
}

/** An address as it may be shown: a signed link carries its secret in the query, an endpoint perhaps a password. */
export function shownUrl(url: string): string {
  if (!URL.canParse(url)) return 'an unusable address';
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}

function originOf(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : shownUrl(url);
}

/** Whether trying again may help. */
export function isTransient(error: I2lError): boolean {
  return error.fields['transient'] === true;
}

function flat(headers: Dispatcher.ResponseData['headers']): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), firstOf(value)]));
}

function firstOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
