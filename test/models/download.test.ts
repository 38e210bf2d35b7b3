import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { tempFolder } from '../unit/temp.ts';
import { BLOCK, fetchFile, leftBeside, randomBytes, sourceOf } from './downloads.ts';
import { HubServer } from './hub-server.ts';

const folder = tempFolder();
let server: HubServer;
beforeAll(async () => {
  server = await HubServer.start();
});
afterAll(() => server.stop());

test.each(['huggingface', 'modelscope'] as const)('a large file and a small one from %s', async (hub) => {
  const large = randomBytes(20 * BLOCK + 12345, 1);
  const small = Buffer.from('{"weight_map": {}}');
  server.add('org/name', 'deep/model.safetensors', large);
  server.add('org/name', 'index.json', small, false);
  const source = sourceOf(server, hub);
  const target = join(folder, hub, 'model.safetensors');
  const progress: number[] = [];
  const result = await fetchFile(server, 'org/name', 'deep/model.safetensors', target, {
    source,
    onProgress: ({ bytes }) => progress.push(bytes),
  });
  expect(readFileSync(target).equals(large)).toBe(true);
  expect(result).toMatchObject({ path: target, size: large.length, received: large.length });
  expect(result.blocks.size).toBe(21);
  expect(progress.at(-1)).toBe(large.length);
  expect(leftBeside(target)).toEqual(['']);
  await fetchFile(server, 'org/name', 'index.json', join(folder, hub, 'index.json'), { source });
  expect(readFileSync(join(folder, hub, 'index.json')).equals(small)).toBe(true);
});
