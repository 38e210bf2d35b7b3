import { expect } from 'vitest';
import { I2lError, type ErrorCode } from '../../main/contract/errors.ts';

/** The error that `action` throws; anything but an I2lError fails the test, as does its absence. */
export function thrownBy(action: () => unknown): I2lError {
  try {
    action();
  } catch (error) {
    return asOurs(error);
  }
  return expect.unreachable('it was expected to throw');
}

export async function rejectionOf(work: Promise<unknown>): Promise<I2lError> {
  try {
    await work;
  } catch (error) {
    return asOurs(error);
  }
  return expect.unreachable('it was expected to reject');
}

/** Code, file and the sentence: what a user and a program see of a refused file. */
export function expectRefusal(error: I2lError, code: ErrorCode, file: string, says: RegExp): void {
  expect({ code: error.code, file: error.fields['file'] }, error.message).toEqual({ code, file });
  expect(error.message).toMatch(says);
  expect(error.message.startsWith(file), error.message).toBe(true);
  expect(error.message.length, 'a sentence, not a dump').toBeLessThan(1000);
}

function asOurs(error: unknown): I2lError {
  expect(error, String(error)).toBeInstanceOf(I2lError);
  return error as I2lError;
}
