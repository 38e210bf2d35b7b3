import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileError, I2lError } from '../contract/errors.ts';
import { formatBytes } from '../contract/format-bytes.ts';

/** What is checked before a byte is written. */

/** MAX_PATH of Windows counts the end mark; Python programs meet it unless long paths are switched on. */
const WINDOWS_CHARACTERS = 259;
const PATH_BYTES: Readonly<Partial<Record<NodeJS.Platform, number>>> = { darwin: 1023, linux: 4095 };
const NAME_BYTES = 255;
/** What a temporary file's name has more than its target's: .PID-COUNT.i2l-part */
const PART_BYTES = 24;

/** @throws I2lError PATH_TOO_LONG */
export function checkPathLength(path: string, platform: NodeJS.Platform, longPaths: boolean): void {
  const bytes = Buffer.byteLength(path) + PART_BYTES;
  const most = PATH_BYTES[platform];
  if (platform === 'win32' && !longPaths && path.length > WINDOWS_CHARACTERS) {
    throw tooLong(path, `${path.length} characters, and Windows allows ${WINDOWS_CHARACTERS}`);
  }
  if (most !== undefined && bytes > most) throw tooLong(path, `${bytes} bytes, and ${most} are allowed`);
  if (Buffer.byteLength(basename(path)) + PART_BYTES > NAME_BYTES) {
    throw tooLong(path, `a file name of more than ${NAME_BYTES - PART_BYTES} bytes`);
  }
}

function tooLong(path: string, why: string): I2lError {
  return new I2lError('PATH_TOO_LONG', `${path}: the path has ${why}; choose a shorter name or sub-folder.`, { file: path });
}

/** Free bytes of the disk that a folder lies on; undefined where the disk does not say. */
export type FreeBytes = (folder: string) => Promise<number | undefined>;

export const freeBytesOf: FreeBytes = async (folder) => {
  try {
    const { bavail, bsize, blocks } = await statfs(folder);
    // Some network disks answer with zeros.
    return blocks === 0 ? undefined : bavail * bsize;
  } catch {
    return undefined;
  }
};

/** Left free, so that the user's other programs go on. */
const SPARE_BYTES = 16 * 2 ** 20;

/** @throws I2lError DISK_FULL */
export async function checkSpace(folder: string, bytes: number, freeBytes: FreeBytes): Promise<void> {
  const free = await freeBytes(nearestFolder(folder));
  if (free === undefined || free >= bytes + SPARE_BYTES) return;
  const [has, needs] = [free, bytes + SPARE_BYTES].map(formatBytes);
  throw new I2lError('DISK_FULL', `${folder}: the disk has ${has} free and ${needs} are needed; free some space and try again.`, {
    file: folder,
    free,
    needed: bytes + SPARE_BYTES,
  });
}

/** @throws I2lError FILE_WRITE_FAILED if a file can't be made in it, or in the nearest parent of a folder yet to be made */
export function checkWritable(folder: string): void {
  const nearest = nearestFolder(folder);
  try {
    readdirSync(nearest);
    accessSync(nearest, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw fileError(nearest, 'write', error);
  }
}

function nearestFolder(folder: string): string {
  const parent = dirname(folder);
  return existsSync(folder) || parent === folder ? folder : nearestFolder(parent);
}

/**
 * A name as its folder lists it: where upper and lower case are one, ComfyUI knows the file by the name that
 * is there, not by ours.
 */
export function asListed(folder: string, name: string): string {
  if (!existsSync(join(folder, name))) return name;
  const names = namesIn(folder);
  return names.includes(name) ? name : (names.find((other) => folded(other) === folded(name)) ?? name);
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function folded(name: string): string {
  return name.normalize('NFC').toLowerCase();
}
