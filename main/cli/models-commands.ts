import { resolve } from 'node:path';
import { formatBytes } from '../contract/format-bytes.ts';
import type { FoundModel, ModelView, PullProgress, PullSource, VerifiedFile, VerifyProgress } from '../contract/models.ts';
import type { Note } from '../contract/notes.ts';
import { dataFolder } from '../data-folder.ts';
import { eightBitFolder, listEightBitCopies, removeEightBitCopies } from '../pipelines/eight-bit-folder.ts';
import { modelsNamed, neededBy, type CatalogueEntry } from '../weights/catalogue.ts';
import type { CommandContext } from './commands.ts';
import { openStore } from './model-store.ts';
import { formatDuration, type Report, type Work } from './report.ts';

/** i2l models: what there is, what is here, how it comes here. */

export interface LookOptions {
  readonly models?: readonly string[];
}

export async function listAll({ report, signal }: CommandContext, { models: folders = [] }: LookOptions): Promise<void> {
  const store = await openStore();
  const models = await store.list(
    folders.map((folder) => resolve(folder)),
    { signal },
  );
  report.result(models.map(modelWords).join('\n'), { type: 'models', models });
}

/** @returns 1 if one of the named folders could not be looked into */
export async function scanAll({ report, signal }: CommandContext, folders: readonly string[]): Promise<number> {
  const store = await openStore();
  const start = performance.now();
  const { models, others, troubles } = await store.scan(folders, { signal });
  const seconds = (performance.now() - start) / 1000;
  const lines = [
    ...models.map(foundWords),
    ...troubles.map(({ message }) => `! ${message}`),
    `${models.length} models, and ${others} other safetensors files, in ${seconds.toFixed(1)} s`,
  ];
  report.result(lines.join('\n'), { type: 'scan', models, others, troubles: troubles.map((error) => error.toShape()), seconds });
  const named = new Set(folders.map((folder) => resolve(folder)));
  return troubles.some(({ fields }) => named.has(String(fields['file']))) ? 1 : 0;
}

export interface CopiesOptions {
  readonly remove?: boolean;
}

export function copies({ report }: CommandContext, { remove: isUnwanted = false }: CopiesOptions): void {
  const folder = eightBitFolder(dataFolder());
  if (isUnwanted) {
    const bytes = removeEightBitCopies(folder);
    report.result(`${formatBytes(bytes)} freed`, { type: 'copies-removed', bytes });
    return;
  }
  const found = listEightBitCopies(folder);
  const lines = found.map(({ of, bytes, file }) => `${of ?? 'damaged'}: ${formatBytes(bytes)}, ${file}`);
  report.result(lines.length > 0 ? lines.join('\n') : `There are no 8-bit copies in ${folder}.`, { type: 'copies', copies: found });
}

export interface NameOptions {
  readonly target: string;
}

export interface PullCommandOptions extends NameOptions {
  readonly from: PullSource;
  readonly endpoint?: string;
  readonly to?: string;
  readonly acceptLicence: readonly string[];
  readonly connections: number;
  readonly limit?: number;
}

export async function pull(
  { report, signal }: CommandContext,
  names: readonly string[],
  options: PullCommandOptions,
): Promise<void> {
  const models = modelsNamed(names, options.target);
  const store = await openStore();
  const files = await store.pull(
    {
      models,
      source: options.from,
      endpoint: options.endpoint,
      folder: options.to === undefined ? undefined : resolve(options.to),
      acceptedLicences: options.acceptLicence,
      connections: options.connections,
      bytesPerSecond: options.limit,
    },
    { signal, ...telling(report) },
  );
  const received = files.reduce((sum, file) => sum + file.received, 0);
  const words = [
    ...files.map(({ path, size }) => `${path}  ${formatBytes(size)}`),
    `  ${formatBytes(received)} came over the network`,
  ];
  report.result(words.join('\n'), { type: 'pulled', files, received });
}

export interface VerifyCommandOptions extends NameOptions {
  readonly repair?: boolean;
  readonly online?: boolean;
}

/** @returns 1 if a file is not as it has to be */
export async function verify(
  { report, signal }: CommandContext,
  names: readonly string[],
  options: VerifyCommandOptions,
): Promise<number> {
  const models = names.length === 0 ? undefined : modelsNamed(names, options.target);
  const { repair = false, online = false } = options;
  const store = await openStore();
  const files = await store.verify({ models, repair, online }, { signal, ...telling(report) });
  const words = files.length === 0 ? 'There is nothing to verify.' : files.map(verifiedWords).join('\n');
  report.result(words, { type: 'verified', files });
  return files.some(({ state }) => state === 'damaged' || state === 'missing') ? 1 : 0;
}

export async function remove({ report }: CommandContext, names: readonly string[], { target }: NameOptions): Promise<void> {
  const store = await openStore();
  const files = await store.remove(meantToRemove(names, target));
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const words = [...files.map(({ path }) => `Removed ${path}`), `  ${formatBytes(bytes)} are free`];
  report.result(words.join('\n'), { type: 'removed', files, bytes });
}

/** By an expert's name its own model is meant, not the encoders that it shares with others. */
function meantToRemove(names: readonly string[], target: string): CatalogueEntry[] {
  return names.flatMap((name) => modelsNamed([name], target).filter(({ id }) => id === name || neededBy(id).length === 1));
}

interface Telling {
  readonly onNote: (note: Note) => void;
  readonly onProgress: (progress: PullProgress | VerifyProgress) => void;
}

function telling(report: Report): Telling {
  return {
    onNote: (note) => report.event({ type: 'note', ...note }),
    onProgress: (progress) => report.working(workOf(progress), progress),
  };
}

function workOf(progress: PullProgress | VerifyProgress): Work {
  const share = progress.total > 0 ? progress.bytes / progress.total : 1;
  if (progress.type === 'verify') return { step: `Reading ${progress.path}`, share, words: formatBytes(progress.bytes) };
  const { bytes, total, bytesPerSecond, etaSeconds, filesDone, filesTotal, model, file } = progress;
  const left = etaSeconds === undefined ? '' : `  about ${formatDuration(etaSeconds)} left`;
  const words = `${formatBytes(bytes)} of ${formatBytes(total)}  ${formatBytes(bytesPerSecond)}/s${left}`;
  return { step: `${model} (${filesDone + 1} of ${filesTotal}: ${file})`, share, words };
}

const STATE_WORDS = { here: 'here', partial: 'stopped', missing: 'missing' } as const;

function modelWords({ id, title, state, bytes, found, partialBytes, neededBy, licence, isDownloaded }: ModelView): string {
  const size = found?.bytes ?? bytes;
  const facts = [
    size === undefined ? undefined : formatBytes(size),
    state === 'partial' ? `${formatBytes(partialBytes)} of it are here` : undefined,
    `for ${neededBy.join(', ')}`,
    licence.mustAccept ? `${licence.title}: --accept-licence ${licence.id}` : undefined,
  ];
  const where = found ? `\n             ${found.path} (${isDownloaded ? 'downloaded by this app' : found.source})` : '';
  return `${STATE_WORDS[state].padEnd(8)}  ${id.padEnd(22)}  ${title}; ${facts.filter((fact) => fact !== undefined).join('; ')}${where}`;
}

function foundWords({ path, id, title, bytes, source, isUsable, synthetic }: FoundModel): string {
  const facts = [title, formatBytes(bytes), source, !isUsable && 'not usable here', synthetic && 'random weights'];
  return `${path}\n  ${id ?? 'no published model'}: ${facts.filter((fact) => typeof fact === 'string').join(', ')}`;
}

function verifiedWords({ path, state, model, damagedBlocks }: VerifiedFile): string {
  const why = {
    good: '',
    damaged: damagedBlocks > 0 ? ` (${damagedBlocks} blocks; --repair fetches them again)` : ' (download it again)',
    missing: ' (it was downloaded, and is gone)',
    unknown: ' (nothing here says what it has to be; --online asks)',
  };
  return `${state.padEnd(8)}  ${model}: ${path}${why[state]}`;
}
