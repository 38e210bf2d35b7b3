import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runInEngine } from '../../main/engine-process.ts';
import { createJobSchema } from '../../main/contract/job.ts';
import { hasEnded } from '../../main/contract/queue.ts';
import { JobQueue } from '../../main/jobs/queue.ts';
import { LibraryJobs } from '../../main/library/jobs.ts';
import { createRunner } from '../../main/runners/create-job.ts';
import { loraRecorder } from '../../main/runners/record-lora.ts';
import { makeTinyModels } from '../cli/tiny-models.ts';
import { makeImage, makeImages } from '../library/make-images.ts';
import { makeLora } from '../library/make-loras.ts';
import { openLibrary } from '../library/open-library.ts';
import { rejectionOf } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';

const base = tempFolder();
let count = 0;
const fresh = (): string => join(base, `${count++}`);

test('a LoRA of an image set: its name, its set with captions as it was, its experts, its preview', async () => {
  const folder = fresh();
  const models = join(folder, 'models');
  makeTinyModels(models);
  const library = await openLibrary(join(folder, 'data'));
  const files = await makeImages(join(folder, 'in'), 2);
  const set = library.sets.create({ name: 'Foxes' });
  const { added } = await library.setImport.addImages(set.id, files);
  library.sets.setImage(set.id, added[1]!, { caption: 'a fox in snow' });
  const output = join(folder, 'fox.safetensors');
  const queue = new JobQueue({
    store: new LibraryJobs(library.database),
    runners: [
      createRunner(
        loraRecorder(library, () => 1e12),
        runInEngine,
      ),
    ],
  });
  queue.start();
  const images = files.map((file) => ({ file, weight: 1 }));
  const input = createJobSchema.parse({
    ...{ kind: 'create', sets: [{ output, images, library: { name: 'My foxes', setId: set.id } }], models, target: 'qwen-image' },
    ...{ experts: [{ name: 'style', strength: 0.5 }], skipBad: false, dtype: 'bf16', keyForm: 'comfyui' },
    ...{ memory: 2 ** 30, device: 'cpu', threads: 1 },
  });
  const { id } = queue.enqueue({ kind: 'create', title: 'Foxes', input });
  await expect.poll(() => hasEnded(queue.get(id).state), { timeout: 60_000 }).toBe(true);
  await queue.close();
  const { total, loras } = library.loras.list({ text: 'snow' });
  expect(total, JSON.stringify(queue.get(id).error)).toBe(1);
  expect(loras[0]).toMatchObject({
    ...{ name: 'My foxes', file: output, setId: set.id, imageCount: 2, preview: added[0], madeAt: 1e12, target: 'qwen-image' },
    experts: [{ strength: 0.5 }],
  });
  expect((await library.loras.get(loras[0]!.id)).madeFrom).toEqual({
    name: 'Foxes',
    images: added.map((hash, i) => ({ hash, weight: 0.5, caption: i === 1 ? 'a fox in snow' : '', isKnown: true })),
  });
});

test('what has gone meanwhile is left out: the set, the parent, the preview', async () => {
  const folder = fresh();
  const library = await openLibrary(join(folder, 'data'));
  const { file } = makeLora(join(folder, 'a.safetensors'), 1);
  const note = { setId: 77, parentId: 78 };
  const write = await loraRecorder(library)({ file, note, images: [join(folder, 'gone.png')] });
  expect(library.loras.list().total).toBe(0);
  write();
  expect(library.loras.list().loras).toMatchObject([{ name: 'a', setId: null, parentId: null, preview: null }]);
});

test('of images in no set all are known: their pictures are there, and come back from the files', async () => {
  const folder = fresh();
  const library = await openLibrary(join(folder, 'data'));
  const images = await makeImages(join(folder, 'in'), 4);
  const hashes = images.map((file) => createHash('sha256').update(readFileSync(file)).digest('hex'));
  const metadata = { 'i2l.images': JSON.stringify(hashes.map((sha256) => ({ sha256, weight: 0.25 }))) };
  const { file } = makeLora(join(folder, 'a.safetensors'), 1, 2, metadata);
  await makeImage(images[2] ?? '', 99);
  rmSync(images[3] ?? '');
  (await loraRecorder(library)({ file, images }))();
  const lora = await library.loras.get(library.loras.list().loras[0]?.id ?? 0);
  expect(lora.preview).toBe(hashes[0]);
  expect(lora.madeFrom?.images.map(({ hash, isKnown }) => [hash, isKnown])).toEqual([
    [hashes[0], true],
    [hashes[1], true],
    [hashes[2], false],
    [hashes[3], false],
  ]);
  rmSync(join(folder, 'data', 'cache'), { recursive: true });
  for (const hash of hashes.slice(0, 2)) expect(existsSync(await library.images.thumbnail(hash))).toBe(true);
  expect(await library.images.fileOf(hashes[1] ?? '')).toBe(images[1]);

  // Brought in again from elsewhere, it is of images that the library knows.
  const other = makeLora(join(folder, 'b.safetensors'), 2, 2, metadata);
  expect((await library.loraFiles.bringIn(other, 'referenced')).preview).toBe(hashes[0]);
});

test('a version keeps the recipe of its parent; a file that is written again stays the same row', async () => {
  const folder = fresh();
  const library = await openLibrary(join(folder, 'data'));
  const record = loraRecorder(library);
  (await record({ file: makeLora(join(folder, 'a.safetensors'), 1).file }))();
  const [parent] = library.loras.list().loras;
  const version = makeLora(join(folder, 'b.safetensors'), 2).file;
  (await record({ file: version, note: { parentId: parent!.id, name: 'Smaller' } }))();
  const made = library.loras.list({ text: 'smaller' }).loras[0]!;
  expect(made).toMatchObject({ parentId: parent!.id, recipe: parent!.recipe, name: 'Smaller' });
  library.loras.update(made.id, { rating: 5 });
  copyFileSync(makeLora(join(folder, 'c.safetensors'), 3).file, version);
  (await record({ file: version, note: { parentId: parent!.id, name: 'Smaller' } }))();
  expect(library.loras.versions(parent!.id)).toMatchObject([{ id: parent!.id }, { id: made.id, rating: 5 }]);
  expect(library.loras.view(made.id).sha256).not.toBe(made.sha256);
});

test('a file that is no LoRA, or none at all, is said so and makes no row', async () => {
  const folder = fresh();
  const library = await openLibrary(join(folder, 'data'));
  const { file } = makeLora(join(folder, 'a.safetensors'), 1);
  rmSync(file);
  expect((await rejectionOf(loraRecorder(library)({ file }))).code).toBe('FILE_NOT_FOUND');
  writeFileSync(file, 'nothing');
  await rejectionOf(loraRecorder(library)({ file }));
  expect(library.loras.list().total).toBe(0);
});
