import { ORPCError, os, ValidationError } from '@orpc/server';
import { I2lError } from '../contract/errors.ts';
import { errorData } from '../contract/wire-errors.ts';

/**
 * For every implementation of a contract, `implement(contract).$context<…>().use(answerErrors)`: what a
 * handler throws, and what its input's schema refuses, reaches the client with its code, fields and message.
 * See errorFromWire for the other end.
 */
export const answerErrors = os.middleware(async ({ next }) => {
  try {
    return await next();
  } catch (thrown) {
    const error = asOurs(thrown);
    throw new ORPCError(error.code, { message: error.message, data: errorData(error), cause: error });
  }
});

const MOST_ISSUES = 20;

function asOurs(thrown: unknown): I2lError {
  const cause: unknown = thrown instanceof ORPCError ? thrown.cause : undefined;
  if (!(cause instanceof ValidationError)) return I2lError.from(thrown);
  const issues = cause.issues.slice(0, MOST_ISSUES).map(({ path, message }) => [placeOf(path), message].filter(Boolean).join(': '));
  const [first = ''] = issues;
  // The other kind is an answer that doesn't fit its schema: our fault, not the caller's.
  const isInput = thrown instanceof ORPCError && thrown.code === 'BAD_REQUEST';
  return isInput
    ? new I2lError('BAD_ARGUMENT', `What was asked is not understood: ${first}.`, { issues }, thrown)
    : new I2lError('INTERNAL', `An answer has the wrong form: ${first}.`, { issues }, thrown);
}

/** E.g. 'images.3.weight'. */
function placeOf(path: ValidationError['issues'][number]['path']): string {
  return (path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.');
}
