import { z } from 'zod';
import { I2lError } from '../contract/errors.ts';
import { emptyAnswer, errorAnswer } from './answers.ts';
import type { Gate } from './gate.ts';
import type { Sessions } from './sessions.ts';

export const SIGN_IN_PATH = '/session';

const MOST_BYTES = 4096;
const bodySchema = z.object({ token: z.string().min(1) });

/**
 * POST /session with {"token"}: the cookie of a new session. The token comes in a body, since addresses end up
 * in logs and histories.
 */
export async function signIn(request: Request, sessions: Sessions, gate: Gate): Promise<Response> {
  const body = bodySchema.safeParse(await readJson(request));
  if (!body.success) return errorAnswer(new I2lError('BAD_ARGUMENT', 'Signing in takes {"token": "…"}.'), 400);
  const secret = sessions.exchange(body.data.token);
  if (secret === undefined) {
    const message = 'This link was used already, or is not of this start; i2l serve shows a new one.';
    return errorAnswer(new I2lError('BAD_ARGUMENT', message), 401);
  }
  return emptyAnswer(204, { 'set-cookie': gate.cookieFor(secret) });
}

/** Undefined for what is no JSON, or too long to be a token. */
async function readJson(request: Request): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of request.body ?? []) {
    bytes += chunk.length;
    if (bytes > MOST_BYTES) return undefined;
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    return undefined;
  }
}
