import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ImageSets } from '../../main/pipelines/image-sets.ts';
import { rejectionOf } from './errors.ts';
import { tempFolder } from './temp.ts';

const folder = tempFolder();

test('a job that is cancelled while its images are read for their hashes reads no more of them', async () => {
  const files = ['a', 'b', 'c', 'd'].map((name) => join(folder, name));
  for (const file of files) writeFileSync(file, file);
  const images = files.map((file) => ({ file, weight: 1 }));
  let asked = 0;
  const signal = Object.defineProperty(new AbortController().signal, 'aborted', { get: () => ++asked > 2 });
  const reading = ImageSets.read({ emit: () => undefined, signal }, [{ output: 'x', images }], false);
  expect((await rejectionOf(reading)).code).toBe('CANCELLED');
  expect(asked).toBe(3);
});

test('an image that is named twice is read once, and one of weight 0 never', async () => {
  const [used, unused] = [join(folder, 'used'), join(folder, 'not there')];
  writeFileSync(used, 'pixels');
  const images = [
    { file: used, weight: 1 },
    { file: unused, weight: 0 },
    { file: used, weight: 2 },
  ];
  const { signal } = new AbortController();
  const sets = await ImageSets.read({ emit: () => undefined, signal }, [{ output: 'x', images }], false);
  sets.settle();
  expect(sets.sets[0]?.images.map(({ weight }) => weight)).toEqual([1, 2]);
  expect(sets.distinctImages()).toHaveLength(1);
});
