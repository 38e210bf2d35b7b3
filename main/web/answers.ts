import { I2lError, type ErrorCode } from '../contract/errors.ts';
import { errorData } from '../contract/wire-errors.ts';

/** Answers of the site that are no file. */

const STATUS_OF: Partial<Record<ErrorCode, number>> = {
  BAD_ARGUMENT: 400,
  FILE_NOT_FOUND: 404,
  NOT_IN_LIBRARY: 404,
  FILE_TOO_LARGE: 413,
  IMAGE_TOO_LARGE: 413,
  UNSUPPORTED: 415,
  IMAGE_INVALID: 422,
  IMAGE_TOO_SMALL: 422,
  LORA_KEYS: 422,
  LORA_MISMATCH: 422,
  SAFETENSORS_HEADER: 422,
  SAFETENSORS_TENSOR: 422,
  DISK_FULL: 507,
};

/** JSON of the error, as the contract's procedures give it. */
export function errorAnswer(thrown: unknown, status?: number): Response {
  const error = I2lError.from(thrown);
  return jsonAnswer(errorData(error), status ?? STATUS_OF[error.code] ?? 500);
}

export function jsonAnswer(body: object, status = 200): Response {
  return Response.json(body, { status, headers: { 'cache-control': 'no-store' } });
}

export function emptyAnswer(status: number, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(null, { status, headers: { 'cache-control': 'no-store', ...headers } });
}
