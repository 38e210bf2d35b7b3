import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { I2lError } from '../../main/contract/errors.ts';
import { rejectionOf } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';
import { BLOCK, fetchFile, leftBeside, randomBytes } from './downloads.ts';
import { FAULTS } from './faults.ts';
import { HubServer } from './hub-server.ts';

/**
 * Whatever a hub does wrong ends in the right file, or in an error that says so, with nothing left but what a
 * later run goes on from.
 */
const folder = tempFolder();
const bytes = randomBytes(30 * BLOCK + 777, 5);
let server: HubServer;

beforeEach(async () => {
  server = await HubServer.start();
  server.add('org/name', 'model.safetensors', bytes);
});
afterEach(() => server.stop());

test('there are enough of them, and each is one of its kind', () => {
  expect(new Set(FAULTS.map(({ what }) => what)).size).toBe(FAULTS.length);
  expect(FAULTS.length).toBeGreaterThan(30);
});

test.each(FAULTS.map((fault, at) => [fault.what, fault, at] as const))('%s', async (_what, { fault, fails, keeps, extra }, at) => {
  mkdirSync(join(folder, String(at)));
  const target = join(folder, String(at), 'model.safetensors');
  server.fault = fault(server);
  const check = (): void => {
    if (fails === 'MODEL_MISMATCH') throw new I2lError('MODEL_MISMATCH', `${target}: another model.`);
  };
  const work = fetchFile(server, 'org/name', 'model.safetensors', target, { check, ...extra });
  if (fails === undefined) {
    await work;
    expect(readFileSync(target).equals(bytes)).toBe(true);
    expect(leftBeside(target)).toEqual(['']);
    return;
  }
  const error = await rejectionOf(work);
  expect(error.code, error.message).toBe(fails);
  expect(error.message, 'a sentence').toMatch(/^[^\n]{20,400}\.$/);
  expect(error.message, 'no signed link').not.toContain('X-Amz');
  expect(leftBeside(target)).toEqual(keeps ? ['.part', '.part.jsonl'] : []);
  // The same again from a server that has come to its senses, with what was kept.
  server.fault = () => false;
  for (const file of server.files.values()) file.said = { size: file.content.size, sha256: file.content.sha256 };
  await fetchFile(server, 'org/name', 'model.safetensors', target);
  expect(
    readFileSync(target).equals(Buffer.from(server.files.get('org/name/model.safetensors')!.content.read(0, bytes.length))),
  ).toBe(true);
  expect(leftBeside(target)).toEqual(['']);
});
