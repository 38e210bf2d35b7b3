import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { safeName } from '../weights/file-names.ts';
import { fileError, I2lError } from '../contract/errors.ts';
import type { SetJob } from '../contract/job.ts';
import { weightSchema } from '../contract/library-values.ts';
import { imagesIn } from '../imaging/list-images.ts';

/** One LoRA of a batch. */
export interface BatchSet {
  readonly name: string;
  readonly images: SetJob['images'];
}

export interface Batch {
  readonly sets: readonly BatchSet[];
  /** Names of sub-folders that have no image, and are no sets. */
  readonly empty: readonly string[];
}

/**
 * The image sets of a folder of folders (each sub-folder with images is one, by its name), or of a manifest:
 * a .jsonl file with one set a line.
 * @throws I2lError FILE_NOT_FOUND, FILE_UNREADABLE, NO_IMAGES, BAD_ARGUMENT that names the line
 */
export function readBatch(source: string): Batch {
  const batch = isFolder(source) ? folderSets(source) : { sets: manifestSets(source), empty: [] };
  refuseSameNames(batch.sets, source);
  return batch;
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    throw fileError(path, 'read', error);
  }
}

const byName = (a: string, b: string): number => a.localeCompare(b, 'en', { numeric: true });

function folderSets(folder: string): Batch {
  const all = foldersIn(folder).map((name): BatchSet => {
    return { name, images: imagesIn(join(folder, name)).map((file) => ({ file, weight: 1 })) };
  });
  const sets = all.filter(({ images }) => images.length > 0);
  if (sets.length > 0) return { sets, empty: all.filter(({ images }) => images.length === 0).map(({ name }) => name) };
  const message = `${folder}: none of its sub-folders has an image in it; a batch is a folder with one sub-folder for each LoRA.`;
  throw new I2lError('NO_IMAGES', message, { folder });
}

function foldersIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => !name.startsWith('.') && (statSync(join(folder, name), { throwIfNoEntry: false })?.isDirectory() ?? false))
      .sort(byName);
  } catch (error) {
    throw fileError(folder, 'read', error);
  }
}

const imageSchema = z.union([
  z.string().min(1).transform((file) => ({ file, weight: 1 })),
  z.strictObject({ file: z.string().min(1), weight: weightSchema.default(1) }),
]); // prettier-ignore

const lineSchema = z
  .strictObject({
    name: z.string().min(1),
    images: z.array(imageSchema).min(1).optional(),
    /** In place of images: all that lie in it. */
    folder: z.string().min(1).optional(),
  })
  .refine(({ images, folder }) => (images === undefined) !== (folder === undefined), 'expected either images or folder');

/** Paths are relative to the manifest. */
function manifestSets(file: string): BatchSet[] {
  const lines = readLines(file);
  const sets = lines.flatMap((text, i) => (text.trim() === '' ? [] : [lineSet(file, text, i + 1)]));
  if (sets.length === 0) throw new I2lError('NO_IMAGES', `${file}: it has no line with an image set.`, { file });
  return sets;
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').replace(/^\uFEFF/, '').split(/\r?\n/); // prettier-ignore
  } catch (error) {
    throw fileError(file, 'read', error);
  }
}

function lineSet(file: string, text: string, line: number): BatchSet {
  const { name, images, folder } = parseLine(file, text, line);
  const at = (path: string): string => resolve(dirname(file), path);
  if (images) return { name, images: images.map((image) => ({ ...image, file: at(image.file) })) };
  const found = imagesIn(at(folder ?? '.'));
  if (found.length === 0) throw lineError(file, line, `there is no image in ${at(folder ?? '.')}`);
  return { name, images: found.map((image) => ({ file: image, weight: 1 })) };
}

function parseLine(file: string, text: string, line: number): z.infer<typeof lineSchema> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw lineError(file, line, 'it is not JSON; expected {"name": "ink", "images": ["a.jpg", "b.jpg"]}');
  }
  const parsed = lineSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw lineError(file, line, [...(issue?.path ?? []), issue?.message ?? 'not usable'].join(': '));
}

function lineError(file: string, line: number, why: string): I2lError {
  return new I2lError('BAD_ARGUMENT', `${file}, line ${line}: ${why}.`, { file, line });
}

/** The LoRA's file of a set. */
export function outputOf(folder: string, { name }: BatchSet): string {
  return join(folder, `${safeName(name)}.safetensors`);
}

/** Case is not told apart on Windows and macOS. */
function refuseSameNames(sets: readonly BatchSet[], source: string): void {
  const names = new Map<string, string>();
  for (const { name } of sets) {
    const place = safeName(name).toLowerCase();
    const other = names.get(place);
    if (other !== undefined) {
      const message = `${source}: the sets "${other}" and "${name}" would be written to the same file; rename one.`;
      throw new I2lError('BAD_ARGUMENT', message, { file: source });
    }
    names.set(place, name);
  }
}

/** Which part of a batch a machine of a fleet does: the `index`-th of `count`, from 1. */
export interface Shard {
  readonly index: number;
  readonly count: number;
}

/** Every set is in exactly one shard, and the shards differ by at most one set. */
export function shardOf<T>(sets: readonly T[], { index, count }: Shard): T[] {
  return sets.filter((_, i) => i % count === index - 1);
}

/**
 * 'i/n' as written; 'auto' as the scheduler of an array job says: SLURM_ARRAY_TASK_ID, _MIN and _COUNT, or
 * Kubernetes' JOB_COMPLETION_INDEX, which needs 'auto/n' since a pod is not told how many there are.
 * Without a text, 'auto' where a scheduler says something, else all.
 * @throws I2lError BAD_ARGUMENT
 */
export function parseShard(text: string | undefined, env: NodeJS.ProcessEnv): Shard {
  if (text === undefined) return scheduledShard(env, undefined) ?? { index: 1, count: 1 };
  const [, which = '', total] = /^(auto|\d+)(?:\/(\d+))?$/.exec(text) ?? [];
  if (which !== 'auto') return checked({ index: Number(which), count: Number(total ?? Number.NaN) }, text);
  const shard = scheduledShard(env, total);
  if (shard) return shard;
  throw shardError(`"${text}": no scheduler says which part this is (SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX)`);
}

function scheduledShard(env: NodeJS.ProcessEnv, total: string | undefined): Shard | undefined {
  const { SLURM_ARRAY_TASK_ID: task, SLURM_ARRAY_TASK_COUNT: count, JOB_COMPLETION_INDEX: pod } = env;
  if (task !== undefined && count !== undefined) {
    const step = Number(env['SLURM_ARRAY_TASK_STEP'] ?? 1);
    const index = (Number(task) - Number(env['SLURM_ARRAY_TASK_MIN'] ?? 0)) / step + 1;
    return checked({ index, count: Number(total ?? count) }, `task ${task} of ${count}`);
  }
  if (pod === undefined) return undefined;
  if (total === undefined) throw shardError(`this is pod ${pod} of an indexed job; say of how many: --shard auto/N`);
  return checked({ index: Number(pod) + 1, count: Number(total) }, `pod ${pod} of ${total}`);
}

function checked({ index, count }: Shard, said: string): Shard {
  const isWhole = Number.isInteger(index) && Number.isInteger(count);
  if (isWhole && index >= 1 && index <= count) return { index, count };
  throw shardError(`"${said}": expected a part and their number, such as 1/4 for the first of four, or auto`);
}

function shardError(why: string): I2lError {
  return new I2lError('BAD_ARGUMENT', `${why}.`, { option: 'shard' });
}
