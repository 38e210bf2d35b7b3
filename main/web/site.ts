import { I2lError } from '../contract/errors.ts';
import { errorAnswer } from './answers.ts';
import type { Assets } from './assets.ts';
import type { Library } from '../library/library.ts';
import { mediaAnswer } from './media.ts';
import { SECURITY_HEADERS } from './security-headers.ts';
import { uploadAnswer } from './uploads.ts';

/** Answers requests for files, whatever brought them: a browser, or the window by i2l://. */
export type Site = (request: Request) => Promise<Response>;

export interface SiteParts {
  readonly assets: Assets;
  readonly library: Library;
}

/** Whether only the user may have what is at an address: all but the interface itself. @throws I2lError BAD_ARGUMENT */
export function isPrivate(request: Request): boolean {
  // As it is answered: an address may be written with %6D for m.
  const path = pathOf(request);
  return path.startsWith('/media/') || path.startsWith('/uploads/');
}

export function makeSite(parts: SiteParts): Site {
  return async (request) => {
    const answer = await answerOf(request, parts).catch((error: unknown) => errorAnswer(error));
    return withSecurityHeaders(answer);
  };
}

async function answerOf(request: Request, { assets, library }: SiteParts): Promise<Response> {
  const path = pathOf(request);
  if (request.method === 'POST') return (await uploadAnswer(library, request)) ?? notAllowed(request.method);
  if (request.method !== 'GET' && request.method !== 'HEAD') return notAllowed(request.method);
  return (
    (await mediaAnswer(library, path)) ??
    (await assets.answer(path)) ??
    errorAnswer(new I2lError('FILE_NOT_FOUND', `${path}: there is nothing at this address.`))
  );
}

/** @throws I2lError BAD_ARGUMENT */
function pathOf({ url }: Request): string {
  try {
    return decodeURIComponent(new URL(url).pathname);
  } catch (error) {
    throw new I2lError('BAD_ARGUMENT', 'The address is not well formed.', {}, error);
  }
}

function notAllowed(method: string): Response {
  return errorAnswer(new I2lError('BAD_ARGUMENT', `${method} is not possible at this address.`, { method }), 405);
}

export function withSecurityHeaders(answer: Response): Response {
  for (const [name, value] of Object.entries(SECURITY_HEADERS)) answer.headers.set(name, value);
  return answer;
}
