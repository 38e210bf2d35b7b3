import { setTimeout as sleep } from 'node:timers/promises';
import { I2lError } from '../../contract/errors.ts';
import { cancelled } from './http.ts';

export interface RetryTimes {
  /** Failures in a row, without a byte of progress between them, before it is given up. */
  readonly attempts: number;
  readonly firstMs: number;
  readonly mostMs: number;
  /** A server that asks for a longer wait than this is told to the user instead. */
  readonly longestAskedMs: number;
}

export const RETRY_TIMES: RetryTimes = { attempts: 8, firstMs: 500, mostMs: 30_000, longestAskedMs: 300_000 };

/**
 * How long to wait after `failures` failures in a row: what the server asked for, else a random share of a
 * time that doubles, so that many clients don't come back as one.
 */
export function waitAfter(error: I2lError, failures: number, times: RetryTimes, random: () => number = Math.random): number {
  const asked = error.fields['retryAfterMs'];
  if (typeof asked === 'number') return asked;
  const most = Math.min(times.mostMs, times.firstMs * 2 ** (failures - 1));
  return most * (0.5 + random() / 2);
}

/** Retry-After: seconds, or a date. https://www.rfc-editor.org/rfc/rfc9110#field.retry-after */
export function parseRetryAfter(text: string | undefined, now = Date.now()): number | undefined {
  if (text === undefined) return undefined;
  if (/^\s*\d+\s*$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** @throws I2lError CANCELLED */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal ? { signal } : {});
  } catch {
    throw cancelled();
  }
}
