import { I2lError } from '../../contract/errors.ts';
import { parseRetryAfter } from './backoff.ts';
import { refusal, shownUrl, type HttpResponse } from './http.ts';
import { HUB_TITLES, type HubSource } from './sources.ts';
import { chunksOf, STALL_TIMES } from './stalls.ts';

/** Turns an answer that is no success into an error that says what to do. The body is thrown away. */
export function refusedBy(source: HubSource, repo: string, response: HttpResponse): I2lError {
  response.body.destroy();
  const { status, headers, url } = response;
  const page = `${source.endpoint}/${source.hub === 'modelscope' ? 'models/' : ''}${repo}`;
  const where = `${repo} on ${HUB_TITLES[source.hub]}`;
  const fields = { source: shownUrl(url), repo, status, url: page };
  if (headers['x-error-code'] === 'GatedRepo' || (status === 403 && source.token !== undefined)) {
    const message = `${where}: its owners want their terms accepted first; read and accept them at ${page}, then give the token of that account.`;
    return new I2lError('LICENCE_NOT_ACCEPTED', message, fields);
  }
  if (status === 401 || status === 403) {
    const what = source.token === undefined ? 'a token is needed' : 'the token was refused';
    return new I2lError(
      'TOKEN_REFUSED',
      `${where}: ${what}, or there is no such repository; make a token in your account's settings there.`,
      fields,
    );
  }
  if (status === 404 || status === 410) {
    return new I2lError(
      'HUB_NOT_FOUND',
      `${shownUrl(url)}: there is no such file; ${where} may have been moved. Try another source.`,
      fields,
    );
  }
  if (status === 429 || (status === 503 && headers['retry-after'] !== undefined)) return limited(where, headers, fields);
  return refusal(url, `it is an error of number ${status}`, { status, transient: status >= 500 || status === 408 });
}

function limited(where: string, headers: HttpResponse['headers'], fields: Readonly<Record<string, string | number>>): I2lError {
  const retryAfterMs = parseRetryAfter(headers['retry-after']);
  const when = retryAfterMs === undefined ? 'later' : `in ${Math.ceil(retryAfterMs / 1000)} s`;
  return new I2lError('RATE_LIMITED', `${where}: too many requests; try again ${when}, or with a token.`, {
    ...fields,
    transient: true,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** Reads a short answer as JSON. @throws I2lError HUB_RESPONSE, HUB_UNREACHABLE, CANCELLED */
export async function readJson(response: HttpResponse, mostBytes: number, signal?: AbortSignal): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunksOf(response, STALL_TIMES, signal)) {
    size += chunk.length;
    if (size > mostBytes) throw refusal(response.url, `it is longer than ${mostBytes} bytes`);
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString('utf8');
  try {
    return JSON.parse(text);
  } catch {
    const page = text.trimStart().startsWith('<');
    const why = page ? 'it is a web page; a network that asks for a log-in answers so' : 'it is not valid JSON';
    throw refusal(response.url, why);
  }
}
