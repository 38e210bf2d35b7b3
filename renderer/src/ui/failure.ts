import type { ErrorShape } from '../../../main/contract/errors.ts';
import type { Dictionary } from '../i18n/en/index.ts';

/** An I2lError, or what came over a wire of one. */
export type Failure = Pick<ErrorShape, 'code' | 'message' | 'fields'> & { readonly cause?: unknown };

/** What kind of failure it is, in the user's language. */
export function titleOf(code: string, words: Dictionary['errors']): string {
  const titles: Readonly<Record<string, string>> = words.codes;
  return titles[code] ?? words.unknown;
}

/** Text to paste into a report. */
export function detailsOf({ code, message, fields, cause }: Failure): string {
  const lines = [`${code}: ${message}`, ...Object.entries(fields).map(([name, value]) => `${name}: ${String(value)}`)];
  if (cause !== undefined) lines.push(`cause: ${cause instanceof Error ? cause.message : String(cause)}`);
  return lines.join('\n');
}
