import { existsSync, readFileSync, statSync } from 'node:fs';
import { mkdir, rm, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { fileError, I2lError } from '../contract/errors.ts';
import { note, type Note } from '../contract/notes.ts';
import {
  contentOf,
  copyToPart,
  discard,
  publishNew,
  writePart,
  type Content,
  type Copy,
  type Part,
} from '../weights/atomic-copy.ts';
import { readSafetensors } from '../weights/safetensors.ts';
import { asListed, checkPathLength, checkSpace, checkWritable, freeBytesOf, type FreeBytes } from './checks.ts';
import { fillTemplate, subfolderParts, type NameField } from './file-names.ts';
import { sidecarText, type LoraDetails } from './sidecar.ts';
import { chooseTargets, existing, type Targets } from './targets.ts';

export interface ExportRequest {
  /** The LoRA. */
  readonly file: string;
  /** One of an install's; see findInstalls and resolveNamed. */
  readonly lorasFolder: string;
  /** In the loras folder, with either separator; 'i2L' if not given, '' for none. */
  readonly subfolder?: string | undefined;
  /** Of {name} {target} {rank} {date} {images}; '{name}' if not given. */
  readonly name?: string | undefined;
  /** Instead of what the file and the calendar say. */
  readonly fields?: Readonly<Partial<Record<NameField, string>>> | undefined;
  /** A PNG's bytes or path; lies beside the LoRA as `<name>.preview.png`. */
  readonly preview?: Uint8Array | string | undefined;
  /** Whether to write ComfyUI-Lora-Manager's `<name>.metadata.json`. */
  readonly sidecar: boolean;
  readonly details?: LoraDetails | undefined;
  readonly platform?: NodeJS.Platform | undefined;
  /** Windows with long paths switched on. */
  readonly longPaths?: boolean | undefined;
  /**
   * Whether a free name had other content before: a running ComfyUI would still give that one.
   * See nameHistory of record.ts.
   */
  readonly wasUsed?: ((path: string, sha256: string) => boolean) | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly now?: Date | undefined;
  readonly freeBytes?: FreeBytes | undefined;
  readonly copy?: Copy | undefined;
}

export interface ExportResult {
  readonly path: string;
  /** What ComfyUI's nodes call it: from the loras folder on, with the platform's separators. */
  readonly loraName: string;
  readonly sha256: string;
  readonly bytes: number;
  /** False if the same content was there under this name. */
  readonly wrote: boolean;
  /** Files beside it that there are now, of those asked for. */
  readonly sidecars: readonly string[];
  /** What is not as was asked, one sentence each, for the user. */
  readonly notes: readonly Note[];
}

/**
 * Puts a LoRA where ComfyUI finds it. Other content is never replaced: a new version gets a new name, since
 * ComfyUI keeps a LoRA by its path. Space, permissions and path lengths are checked first; the file and those
 * beside it appear whole, and if anything fails none of them stays.
 * @throws I2lError FILE_NOT_FOUND, FILE_UNREADABLE, SAFETENSORS_HEADER, SAFETENSORS_TENSOR, IMAGE_INVALID,
 * BAD_ARGUMENT, PATH_TOO_LONG, DISK_FULL, FILE_WRITE_FAILED, CANCELLED
 */
export async function exportToComfyui(request: ExportRequest): Promise<ExportResult> {
  const job = openJob(request);
  job.checkLengths(join(job.folder, job.name));
  const content = await contentOf(job.file, request.signal);
  for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
    const targets = await chooseTargets(job, content);
    if (!targets.isThere) await checkRoom(job, targets, content);
    // Else another program took the name meanwhile.
    if (await writeAll(job, targets, content)) return resultOf(job, targets, content);
  }
  throw new I2lError('FILE_WRITE_FAILED', `${job.folder}: another program keeps taking the names; try again.`, {
    file: job.folder,
    reason: 'held-by-others',
  });
}

const MOST_ATTEMPTS = 5;

interface Job {
  readonly request: ExportRequest;
  readonly file: string;
  readonly parts: readonly string[];
  readonly folder: string;
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly preview: Uint8Array | undefined;
  readonly sidecar: boolean;
  readonly wasUsed: (path: string, sha256: string) => boolean;
  readonly checkLengths: (base: string) => void;
}

function openJob(request: ExportRequest): Job {
  const lorasFolder = resolve(request.lorasFolder);
  if (!existsSync(dirname(lorasFolder))) {
    throw new I2lError('FILE_NOT_FOUND', `${lorasFolder}: this loras folder is not there, nor is the folder around it.`, {
      file: lorasFolder,
    });
  }
  const { metadata } = readSafetensors(request.file);
  let folder = lorasFolder;
  const parts: string[] = [];
  for (const part of subfolderParts(request.subfolder ?? 'i2L')) {
    parts.push(asListed(folder, part));
    folder = join(folder, parts.at(-1) ?? part);
  }
  const { platform = process.platform, longPaths = false } = request;
  return {
    request,
    file: resolve(request.file),
    parts,
    folder,
    name: fillTemplate(request.name ?? '{name}', { ...fieldsOf(request, metadata), ...request.fields }),
    metadata,
    preview: request.preview === undefined ? undefined : readPreview(request.preview),
    sidecar: request.sidecar,
    wasUsed: request.wasUsed ?? (() => false),
    // The longest of the endings.
    checkLengths: (base) => checkPathLength(base + (request.sidecar ? '.metadata.json' : '.safetensors'), platform, longPaths),
  };
}

function fieldsOf(request: ExportRequest, metadata: Readonly<Record<string, string>>): Partial<Record<NameField, string>> {
  const now = request.now ?? new Date();
  const date = [now.getFullYear(), now.getMonth() + 1, now.getDate()].map((part) => String(part).padStart(2, '0')).join('-');
  return {
    name: basename(request.file).replace(/\.safetensors$/i, ''),
    target: metadata['i2l.target'] ?? '',
    rank: metadata['ss_network_dim'] ?? '',
    images: countOf(metadata['i2l.images']),
    date,
  };
}

/** How many items a JSON list has; '' if it is none. */
function countOf(json: string | undefined): string {
  try {
    const list: unknown = JSON.parse(json ?? '');
    return Array.isArray(list) ? String(list.length) : '';
  } catch {
    return '';
  }
}

const PNG = Buffer.from('89504e470d0a1a0a', 'hex');
const MOST_PREVIEW_BYTES = 64 * 2 ** 20;

function readPreview(preview: Uint8Array | string): Uint8Array {
  const [file, bytes] = typeof preview === 'string' ? [preview, readImage(preview)] : ['the preview', preview];
  if (bytes.length < PNG.length || !PNG.equals(bytes.subarray(0, PNG.length)) || bytes.length > MOST_PREVIEW_BYTES) {
    throw new I2lError('IMAGE_INVALID', `${file}: a preview has to be a PNG of at most ${MOST_PREVIEW_BYTES / 2 ** 20} MiB.`, {
      file,
      reason: 'no-preview',
    });
  }
  return bytes;
}

function readImage(file: string): Uint8Array {
  try {
    const { size } = statSync(file);
    return size > MOST_PREVIEW_BYTES ? new Uint8Array() : readFileSync(file);
  } catch (error) {
    throw fileError(file, 'read', error);
  }
}

/** The checks that cost nothing, before the disk is touched. */
async function checkRoom(job: Job, { name }: Targets, { size }: Content): Promise<void> {
  job.checkLengths(join(job.folder, name));
  checkWritable(job.folder);
  await checkSpace(job.folder, size + (job.preview?.length ?? 0), job.request.freeBytes ?? freeBytesOf);
}

/** @returns false if another program took the LoRA's name meanwhile; then nothing was written. */
async function writeAll(job: Job, targets: Targets, content: Content): Promise<boolean> {
  const { copy, signal } = job.request;
  const parts: Part[] = [];
  const published: string[] = [];
  const made = await makeFolder(job.folder);
  let done = false;
  try {
    if (!targets.isThere) parts.push(await copyToPart(job.file, targets.lora, content, { ...(copy ? { copy } : {}), signal }));
    const copied = parts[0]?.temporary ?? targets.lora;
    await addSidecars(job, targets, { ...content, modifiedMs: (await stat(copied)).mtimeMs }, parts);
    for (const part of parts) {
      if (await publishNew(part)) published.push(part.target);
      else if (part.target === targets.lora) return false;
    }
    done = true;
    return true;
  } catch (error) {
    throw fileError(targets.lora, 'write', error);
  } finally {
    for (const part of parts) await discard(part);
    if (!done) await undo(published, made);
  }
}

/** Parts of the files beside the LoRA that are asked for and not there. */
async function addSidecars(
  { preview, metadata, request }: Job,
  targets: Targets,
  content: Content & { readonly modifiedMs: number },
  parts: Part[],
): Promise<void> {
  if (preview && targets.preview !== undefined && !existing(targets.preview)) parts.push(await writePart(targets.preview, preview));
  if (targets.sidecar === undefined || existing(targets.sidecar)) return;
  const file = { ...content, path: targets.lora, name: targets.name, preview: targets.preview };
  parts.push(await writePart(targets.sidecar, sidecarText(file, metadata, request.details ?? {})));
}

/** @returns the folders that were made, outermost first. */
async function makeFolder(folder: string): Promise<string[]> {
  const made: string[] = [];
  for (let missing = folder; !existsSync(missing) && dirname(missing) !== missing; missing = dirname(missing))
    made.unshift(missing);
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw fileError(folder, 'write', error);
  }
  return made;
}

/** As it was before; a folder in which somebody else put something stays. */
async function undo(published: readonly string[], made: readonly string[]): Promise<void> {
  for (const file of published) await rm(file, { force: true }).catch(() => undefined);
  for (const folder of made.toReversed()) await rmdir(folder).catch(() => undefined);
}

function notesOf({ name: asked }: Job, { isThere, version, lora: file, name }: Targets): Note[] {
  if (isThere) return [note('LORA_ALREADY_THERE', `${file}: the same LoRA is there already; nothing was written.`, { file })];
  if (version === 1) return [];
  return [note('LORA_OTHER_NAME', `The name ${asked} has other content; this version is called ${name}.`, { asked, name })];
}

function resultOf(job: Job, targets: Targets, { size, sha256 }: Content): ExportResult {
  const { isThere, lora } = targets;
  const separator = (job.request.platform ?? process.platform) === 'win32' ? '\\' : '/';
  return {
    path: lora,
    loraName: [...job.parts, basename(lora)].join(separator),
    sha256,
    bytes: size,
    wrote: !isThere,
    sidecars: [targets.preview, targets.sidecar].filter((file) => file !== undefined && existing(file)) as string[],
    notes: notesOf(job, targets),
  };
}
