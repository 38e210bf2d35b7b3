import { link, lstat, mkdir, readdir, rename, rm, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileError, I2lError, systemCode } from '../contract/errors.ts';
import { contentOf, copyToPart, publishNew } from '../weights/atomic-copy.ts';

/** What other programs put beside a LoRA, by the ending that takes the place of .safetensors. */
const SIDECARS = [
  ...['.metadata.json', '.json', '.civitai.info', '.txt', '.yaml', '.safetensors.rgthree-info.json'],
  ...['png', 'jpg', 'jpeg', 'webp', 'mp4'].flatMap((ending) => [`.preview.${ending}`, `.${ending}`]),
];

function stemOf(lora: string): string {
  return basename(lora).replace(/\.safetensors$/i, '');
}

/** Files beside a LoRA that belong to it. */
export async function sidecarsOf(lora: string): Promise<string[]> {
  const folder = dirname(lora);
  const names = await readdir(folder).catch(() => []);
  const wanted = new Set(SIDECARS.map((ending) => stemOf(lora) + ending));
  return names.filter((name) => wanted.has(name) && name !== basename(lora)).map((name) => join(folder, name));
}

/**
 * Moves a LoRA with its sidecars, the LoRA last; done again after it was cut off, it goes on. Nothing is ever
 * replaced: a sidecar whose new name is taken stays where it is.
 * @throws I2lError FILE_WRITE_FAILED if the LoRA's new name is taken, FILE_NOT_FOUND, DISK_FULL
 */
export async function moveLora(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true }).catch((error: unknown) => {
    throw fileError(dirname(to), 'write', error);
  });
  if (await isAnother(from, to)) throw fileError(to, 'write', Object.assign(new Error('it is there'), { code: 'EEXIST' }));
  for (const sidecar of await sidecarsOf(from)) {
    const target = join(dirname(to), stemOf(to) + basename(sidecar).slice(stemOf(from).length));
    if (!(await isAnother(sidecar, target))) await moveFile(sidecar, target);
  }
  await moveFile(from, to);
}

/** Removes a LoRA with its sidecars; what is gone already is no failure. @throws I2lError FILE_WRITE_FAILED */
export async function removeLora(lora: string): Promise<void> {
  for (const file of [...(await sidecarsOf(lora)), lora]) await removeFile(file);
}

/** What is gone already is no failure. @throws I2lError FILE_WRITE_FAILED */
export async function removeFile(file: string): Promise<void> {
  await rm(file, { force: true }).catch((error: unknown) => {
    throw fileError(file, 'write', error);
  });
}

/** Whether a name is taken by a file that is not the one to be moved: on some disks names differ in more than case. */
export async function isAnother(from: string, to: string): Promise<boolean> {
  const there = await lstat(to).catch(() => undefined);
  const own = await lstat(from).catch(() => undefined);
  return there !== undefined && (own === undefined || there.ino !== own.ino || there.dev !== own.dev);
}

async function moveFile(from: string, to: string): Promise<void> {
  try {
    // Unlike a rename, a second name never replaces a file.
    await link(from, to);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT') throw fileError(from, 'read', error);
    if (code === 'EXDEV') return moveAcross(from, to);
    if (code === 'EEXIST' && (await isAnother(from, to))) throw fileError(to, 'write', error);
    // A disk that knows no second name, or takes both names for one, as those that differ in case.
    if (code !== 'EEXIST' || !((await isListed(from)) && (await isListed(to)))) return plainRename(from, to);
    // Else a move was cut off after its first half.
  }
  await unlink(from).catch((error: unknown) => {
    throw fileError(from, 'write', error);
  });
}

async function plainRename(from: string, to: string): Promise<void> {
  await rename(from, to).catch((error: unknown) => {
    throw fileError(to, 'write', error);
  });
}

/** Whether a folder has a file under just this name. */
async function isListed(path: string): Promise<boolean> {
  return (await readdir(dirname(path))).includes(basename(path));
}

async function moveAcross(from: string, to: string): Promise<void> {
  const content = await contentOf(from);
  if (!(await publishNew(await copyToPart(from, to, content)))) {
    throw new I2lError('FILE_WRITE_FAILED', `${to}: a file is in the way.`, { file: to, reason: 'in-the-way' });
  }
  await unlink(from).catch((error: unknown) => {
    throw fileError(from, 'write', error);
  });
}

export async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}
