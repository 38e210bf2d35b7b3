import type { FailedFile } from '../contract/library-values.ts';

/** Files that were left out, a line each, with why. */
export function failedLines(failed: readonly FailedFile[]): string[] {
  return failed.map(({ error }) => `  ! ${error.message}`);
}
