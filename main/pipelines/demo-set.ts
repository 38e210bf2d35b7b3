import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fileError } from '../contract/errors.ts';
import { Threads } from '../offload/threads.ts';
import { contentOf, copyToPart, publishOver } from '../weights/atomic-copy.ts';
import { makeFolder } from '../weights/make-folder.ts';

/** What the demo puts into the data folder. */
export interface DemoFiles {
  readonly modelsFolder: string;
  /** Example images, whole paths. */
  readonly images: readonly string[];
}

/** Catalogue ids. Named here as well as in demo-models.ts, since that brings the networks with it, which a start doesn't need. */
const MODELS = ['siglip2-g384', 'dinov3-7b', 'qwen-image-i2l-style'];
const EXAMPLES = fileURLToPath(new URL('../../resources/examples', import.meta.url));

/**
 * Tiny models with random weights and a few images, to try the whole way before anything is downloaded. Of its own
 * folder: what `i2l demo` makes goes with the command.
 */
export class DemoSet {
  readonly modelsFolder: string;
  readonly imagesFolder: string;
  #underWay: Promise<DemoFiles> | undefined;

  constructor(dataFolder: string) {
    this.modelsFolder = join(dataFolder, 'demo', 'studio', 'models');
    this.imagesFolder = join(dataFolder, 'demo', 'studio', 'images');
  }

  get isReady(): boolean {
    return MODELS.every((id) => existsSync(join(this.modelsFolder, id, 'model.safetensors')));
  }

  /**
   * Makes what is not there yet; who asks meanwhile gets the same answer.
   * @throws I2lError FILE_NOT_FOUND, FILE_UNREADABLE, FILE_WRITE_FAILED, DISK_FULL
   */
  async prepare(): Promise<DemoFiles> {
    this.#underWay ??= this.#make().finally(() => (this.#underWay = undefined));
    return this.#underWay;
  }

  async #make(): Promise<DemoFiles> {
    if (!this.isReady) await makeModels(this.modelsFolder);
    return { modelsFolder: this.modelsFolder, images: await copyExamples(this.imagesFolder) };
  }
}

async function makeModels(folder: string): Promise<void> {
  const threads = new Threads(new URL('./demo-thread.ts', import.meta.url), 1);
  try {
    await threads.perform(folder);
  } finally {
    await threads.close();
  }
}

/** They are the user's to use and to delete: copies, that come again with the next preparation. */
async function copyExamples(folder: string): Promise<string[]> {
  await makeFolder(folder);
  const names = await readdir(EXAMPLES).catch((error: unknown) => {
    throw fileError(EXAMPLES, 'read', error);
  });
  const images = names.filter((name) => name.endsWith('.jpg')).sort();
  for (const name of images.filter((one) => !existsSync(join(folder, one)))) {
    const source = join(EXAMPLES, name);
    await publishOver(await copyToPart(source, join(folder, name), await contentOf(source)));
  }
  return images.map((name) => join(folder, name));
}
