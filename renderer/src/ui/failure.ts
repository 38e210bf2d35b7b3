import { isErrorCode, isErrorReason, type ErrorShape } from '../../../main/contract/errors.ts';
import type { Dictionary } from '../i18n/en/index.ts';
import type { Format } from '../i18n/format.ts';
import { Told } from '../i18n/told.ts';

/** An I2lError, or what came over a wire of one. */
export type Failure = Pick<ErrorShape, 'message' | 'fields'> & { readonly code: string; readonly cause?: unknown };

/** What kind of failure it is, in the user's language. */
export function titleOf(code: string, words: Dictionary['errors']): string {
  return isErrorCode(code) ? words.codes[code] : words.unknown;
}

/** What happened and what to do, in the user's language; as the app says it where the page doesn't know this code, or not enough of it. */
export function sentenceOf(error: Failure, { sentences }: Dictionary['errors'], format: Format): string {
  const { code, message, fields } = error;
  if (!isErrorCode(code)) return message;
  const { reason, failed, all } = fields;
  const say = isErrorReason(reason) ? sentences.reasons[reason] : sentences.codes[code];
  const told = new Told(error, format);
  const sentence = say(told);
  if (!told.isWhole) return message;
  // The app's own words say it already.
  if (failed === undefined || all === undefined || sentence === message) return sentence;
  return sentences.several(String(failed), String(all)) + sentence;
}

/** Text to paste into a report: the app's own words, in English. */
export function detailsOf({ code, message, fields, cause }: Failure): string {
  const lines = [`${code}: ${message}`, ...Object.entries(fields).map(([name, value]) => `${name}: ${String(value)}`)];
  if (cause !== undefined) lines.push(`cause: ${cause instanceof Error ? cause.message : String(cause)}`);
  return lines.join('\n');
}
