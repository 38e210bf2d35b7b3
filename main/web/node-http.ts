import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';

/** Between Node's HTTP server and the web's own Request and Response. */

/** @param signal aborted when whoever asked is gone */
export function requestOf(message: IncomingMessage, signal: AbortSignal): Request {
  const headers = new Headers();
  for (const [name, values] of Object.entries(message.headersDistinct))
    for (const value of values ?? []) headers.append(name, value);
  const method = message.method ?? 'GET';
  const hasBody = method !== 'GET' && method !== 'HEAD';
  // The path alone: an absolute address in the request line could say anything.
  const path = message.url?.startsWith('/') ? message.url : '/';
  return new Request(`http://${message.headers.host ?? 'localhost'}${path}`, {
    method,
    headers,
    signal,
    ...(hasBody ? { body: Readable.toWeb(message) as globalThis.ReadableStream, duplex: 'half' } : {}),
  });
}

export async function send(answer: Response, to: ServerResponse, { headOnly = false } = {}): Promise<void> {
  to.writeHead(answer.status, [...answer.headers].flat());
  if (headOnly || !answer.body) {
    await answer.body?.cancel();
    to.end();
    return;
  }
  await pipeline(Readable.fromWeb(answer.body as ReadableStream), to);
}
