import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { I2lError } from '../../contract/errors.ts';
import type { PullProgress } from '../../contract/models.ts';
import { note, type Note } from '../../contract/notes.ts';
import type { CatalogueEntry } from '../catalogue.ts';
import { Checkpoint } from '../checkpoint.ts';
import { hasContent } from './content-hash.ts';
import { downloadFile, type DownloadOptions } from './download.ts';
import { checkSpace } from './free-space.ts';
import { checkLicences } from './licences.ts';
import { PullMeter } from './pull-meter.ts';
import { RateLimit } from './rate-limit.ts';
import type { DownloadRecords } from './records.ts';
import { removeDownloaded } from './remove.ts';
import { Repositories } from './repositories.ts';
import { fileOf, type RemoteFile, type RemoteRepository } from './repository.ts';
import type { HubSource } from './sources.ts';

export interface PullRequest {
  readonly models: readonly CatalogueEntry[];
  /** Files come to FOLDER/ORG/REPO/PATH, named as on Hugging Face, whichever hub they are from. */
  readonly folder: string;
  /** In the order in which they are tried; several are probed first, and the quickest is taken. */
  readonly sources: readonly HubSource[];
  /** Ids of the licences that the user has agreed to. */
  readonly acceptedLicences: readonly string[];
  readonly connections?: number | undefined;
  readonly bytesPerSecond?: number | undefined;
}

export interface PullOptions extends Omit<DownloadOptions, 'onProgress'> {
  readonly records: DownloadRecords;
  readonly onProgress?: ((progress: PullProgress) => void) | undefined;
}

export interface PulledFile {
  readonly model: string;
  readonly path: string;
  readonly size: number;
  /** Bytes that came over the network; 0 where it was there. */
  readonly received: number;
}

/**
 * Downloads models: terms first, then room on the disk, then file after file; what is there already is left.
 * Each file has to have its hub's hash and each model its published layout, else nothing of it is kept.
 * @throws I2lError LICENCE_NOT_ACCEPTED (before anything is asked of the network), MODEL_MISMATCH, FILE_WRITE_FAILED
 * for a file of another kind in the way, and what downloadFile gives
 */
export async function pullModels(request: PullRequest, options: PullOptions): Promise<PulledFile[]> {
  checkLicences(request.models, request.acceptedLicences);
  const repositories = new Repositories(options.client, request.sources, options);
  const limit = new RateLimit(request.bytesPerSecond);
  const planned = await planFiles(request, repositories, options);
  const missing = planned.filter(({ isHere }) => !isHere);
  const bytes = missing.reduce((sum, { file }) => sum + file.size, 0);
  if (missing[0]) await checkSpace(missing[0].target, bytes - (await partBytes(missing)), options.free);
  const meter = new PullMeter(planned, options.onProgress);
  const pulled: PulledFile[] = [];
  for (const entry of request.models) {
    const own = planned.filter(({ model }) => model === entry);
    for (const plan of own) pulled.push(await pullFile(plan, { request, options, repositories, limit, meter }));
    if (entry.parts.length > 0) await checkWhole(entry, own, options);
  }
  return pulled;
}

export interface PlannedFile {
  readonly model: CatalogueEntry;
  readonly file: RemoteFile;
  readonly target: string;
  /** Downloaded by us earlier, and the hub has it still so. */
  readonly isHere: boolean;
}

async function planFiles(
  { models, folder }: PullRequest,
  repositories: Repositories,
  { records, signal }: PullOptions,
): Promise<PlannedFile[]> {
  const planned: PlannedFile[] = [];
  for (const model of models) {
    const repository = await repositories.of(model);
    for (const path of [model.file, ...model.parts]) {
      const file = fileOf(repository, path);
      const target = join(folder, model.hubs.huggingface, path);
      planned.push({ model, file, target, isHere: await isHere(target, file, records, signal) });
    }
  }
  return planned;
}

/** @throws I2lError FILE_WRITE_FAILED for another file of that name that isn't ours */
async function isHere(target: string, file: RemoteFile, records: DownloadRecords, signal?: AbortSignal): Promise<boolean> {
  const found = await stat(target).catch(() => undefined);
  if (!found) return false;
  const record = await records.of(target);
  if (record) return record.size === file.size && record.hash.value === file.hash.value && found.size === file.size;
  // Somebody else's, or ours of a process that died before it could say so: good if it is what would come.
  if (found.size === file.size && (await hasContent(target, file.size, file.hash, signal))) return true;
  throw new I2lError(
    'FILE_WRITE_FAILED',
    `${target}: another file is in the way, which this app did not download; move it, or choose another folder.`,
    { file: target, reason: 'in-the-way' },
  );
}

/** What stopped downloads hold already. */
async function partBytes(planned: readonly PlannedFile[]): Promise<number> {
  const sizes = await Promise.all(planned.map(({ target }) => stat(`${target}.part`).then(({ blocks }) => blocks * 512, () => 0))); // prettier-ignore
  return sizes.reduce((sum, size) => sum + size, 0);
}

interface Pulling {
  readonly request: PullRequest;
  readonly options: PullOptions;
  readonly repositories: Repositories;
  readonly limit: RateLimit;
  readonly meter: PullMeter;
}

/** Tries the sources in turn; what one brought, the next goes on from, since the hash is the same. */
async function pullFile(plan: PlannedFile, pulling: Pulling): Promise<PulledFile> {
  const { model, target, file } = plan;
  if (plan.isHere) {
    pulling.meter.finished(plan);
    return { model: model.id, path: target, size: file.size, received: 0 };
  }
  let asked = await pulling.repositories.of(model);
  for (let changes = 0; ;) {
    try {
      return await pullFrom(asked, plan, pulling);
    } catch (error) {
      const known = I2lError.from(error);
      // Once: the hub's word of a moment ago is old.
      const again = known.code === 'SOURCE_CHANGED' && changes++ === 0;
      const next = again ? await pulling.repositories.again(model, asked) : await pulling.repositories.after(model, asked, known);
      if (!next) throw known;
      const { endpoint: source } = next.source;
      pulling.options.onNote?.(again ? askedAgain(source, known) : triedNext(source, known));
      asked = next;
    }
  }
}

function askedAgain(source: string, error: I2lError): Note {
  return note('SOURCE_ASKED_AGAIN', `${error.message} The hub is asked again.`, { source }, error);
}

function triedNext(source: string, error: I2lError): Note {
  return note('SOURCE_TRIED_NEXT', `${error.message} ${source} is tried now.`, { source }, error);
}

async function pullFrom(
  repository: RemoteRepository,
  plan: PlannedFile,
  { request, options, limit, meter }: Pulling,
): Promise<PulledFile> {
  const { model, target } = plan;
  const { source, revision } = repository;
  const file = fileOf(repository, plan.file.path);
  const { records } = options;
  const check = model.parts.length > 0 ? undefined : (part: string): void => checkLayout(model, part, target);
  const done = await downloadFile(
    { source, file, target, check, limit, connections: request.connections },
    { ...options, onProgress: (progress) => meter.progress(plan, source, progress) },
  );
  const blocks = [...done.blocks].sort(([a], [b]) => a - b).map(([, sha256]) => sha256);
  const { hub } = source;
  const { repo, path, size, hash } = file;
  await records.add({
    path: target,
    model: model.id,
    hub,
    repo,
    file: path,
    revision,
    size,
    hash,
    blockSize: done.blockSize,
    blocks,
    at: new Date().toISOString(),
  });
  meter.finished(plan);
  return { model: model.id, path: target, size, received: done.received };
}

/** Headers alone. @throws I2lError MODEL_MISMATCH, or what a file that is no safetensors file gives */
function checkLayout({ id, title, fingerprint }: CatalogueEntry, file: string, target: string): void {
  const checkpoint = Checkpoint.open(file);
  // The layout of a static LoRA is not published; it has to be one, at least.
  const fits =
    fingerprint === null ? [...checkpoint.names].some((name) => name.includes('.lora_')) : checkpoint.fingerprint() === fingerprint;
  if (fits) return;
  const message = `${target}: what came is not the ${title} that this version knows; nothing was kept. Look for a newer version of this app.`;
  throw new I2lError('MODEL_MISMATCH', message, {
    file: target,
    reason: 'not-as-published',
    model: id,
    expected: fingerprint ?? 'a LoRA',
    got: checkpoint.fingerprint(),
  });
}

/** A model in several files is looked at when all are there. */
async function checkWhole(entry: CatalogueEntry, own: readonly PlannedFile[], { records }: PullOptions): Promise<void> {
  const index = own.find(({ file }) => file.path === entry.file);
  if (!index) return;
  try {
    checkLayout(entry, index.target, index.target);
  } catch (error) {
    for (const { target, isHere: wasHere } of own) if (!wasHere) await removeDownloaded(target, records);
    throw error;
  }
}
