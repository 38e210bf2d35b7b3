import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { ENGINE_ARGUMENTS, ENGINE_ENVIRONMENT } from '../../main/engine-process.ts';

const script = fileURLToPath(new URL('passing-run.ts', import.meta.url));
/** Of the state of all images in passing-run.ts. */
const STATE_BYTES = 64 << 20;

async function peakOf(stages: number): Promise<number> {
  const env = { ...process.env, ...ENGINE_ENVIRONMENT };
  const { stdout } = await promisify(execFile)(process.execPath, [...ENGINE_ARGUMENTS, script, String(stages)], { env });
  return Number(stdout);
}

test('state that no stage takes any more goes, also where threads share it', async () => {
  const [few, many] = [await peakOf(2), await peakOf(10)];
  expect(few).toBeGreaterThan(2 * STATE_BYTES);
  expect(many - few).toBeLessThan(STATE_BYTES);
});
