import { cutText } from '../contract/cut-text.ts';
import { MOST_NAME, type FailedFile } from '../contract/library-values.ts';
import type { ImageSet, Rescanned, SetImage, SetSummary } from '../contract/sets.ts';
import { collectImages } from '../imaging/list-images.ts';
import type { CommandContext } from './commands.ts';
import { failedLines } from './failed-lines.ts';
import { counted } from './report.ts';
import { follow, withLibrary, type LibraryClient } from './library-client.ts';

/** i2l sets: the library's image sets. */

export interface ListSetsOptions {
  readonly text?: string;
  readonly target?: string;
  readonly trashed?: boolean;
  readonly limit: number;
  readonly offset: number;
}

export async function listSets({ report }: CommandContext, options: ListSetsOptions): Promise<void> {
  const { total, sets } = await withLibrary('sets ls', (client) =>
    client.sets.list({ ...options, sort: 'name', order: 'ascending' }),
  );
  const lines = sets.map(setLine);
  if (total > sets.length) lines.push(`${sets.length} of ${total}; see --limit and --offset`);
  report.result(lines.length === 0 ? 'There are no image sets.' : lines.join('\n'), { type: 'sets', total, sets });
}

/** With what each image's file is now. */
export async function showSet({ report }: CommandContext, id: number): Promise<void> {
  const { set, near } = await withLibrary('sets show', async (client) => ({
    set: await client.sets.get({ id, check: true }),
    near: (await client.sets.duplicates({ id })).near,
  }));
  report.result(setWords(set, near.length), { type: 'set', set, near });
}

export interface NewSetOptions {
  readonly target?: string;
  readonly notes?: string;
  readonly copy?: boolean;
}

/** @returns 1 if a file could not be taken */
export async function newSet(
  context: CommandContext,
  name: string,
  files: readonly string[],
  options: NewSetOptions,
): Promise<number> {
  const { copy = false, target = null, notes = '' } = options;
  return withLibrary('sets new', async (client) => {
    const set = await client.sets.create({ name, notes, target, storage: copy ? 'copied' : 'referenced' });
    if (files.length === 0) context.report.result(setLine(set), { type: 'set', set });
    else return addTo(context, client, set.id, files);
    return 0;
  });
}

/** @param name of the copy; undefined: that of the set, and 'copy' */
export async function copySet({ report }: CommandContext, id: number, name?: string): Promise<void> {
  const set = await withLibrary('sets copy', async ({ sets }) =>
    sets.copy({ id, name: name ?? copyName((await sets.get({ id })).name) }),
  );
  report.result(setLine(set), { type: 'set', set });
}

function copyName(name: string): string {
  const end = ' copy';
  return cutText(name, MOST_NAME - end.length) + end;
}

/** @returns 1 if a file could not be taken */
export async function addToSet(context: CommandContext, id: number, files: readonly string[]): Promise<number> {
  return withLibrary('sets add', (client) => addTo(context, client, id, files));
}

async function addTo(context: CommandContext, { sets }: LibraryClient, id: number, files: readonly string[]): Promise<number> {
  const { signal } = context;
  const stream = await sets.addImages({ id, files: collectImages(files) }, { signal });
  const done = await follow(context, 'reading images', stream);
  const words = [
    setLine(await sets.get({ id })),
    `  ${done.added.length} added, ${done.duplicates.length} there already, ${done.failed.length} not usable`,
    ...failedLines(done.failed),
  ];
  context.report.result(words.join('\n'), { ...done, type: 'added' });
  return done.failed.length > 0 ? 1 : 0;
}

export interface ImportSetsOptions {
  readonly each?: boolean;
  readonly copy?: boolean;
}

/** @returns 1 if a file or a sub-folder could not be taken */
export async function importSets(context: CommandContext, folder: string, options: ImportSetsOptions): Promise<number> {
  const { each = false, copy } = options;
  const storage = copy === undefined ? undefined : copy ? 'copied' : 'referenced';
  return withLibrary('sets import', async ({ sets }) => {
    const stream = await sets.importFolder({ folder, each, storage }, { signal: context.signal });
    const done = await follow(context, 'reading images', stream);
    tellRead(context, done.sets, done.failed);
    return done.failed.length > 0 || done.sets.some(({ failed }) => failed.length > 0) ? 1 : 0;
  });
}

/** @returns 1 if a file could not be taken */
export async function rescanSet(context: CommandContext, id: number): Promise<number> {
  return withLibrary('sets rescan', async ({ sets }) => {
    const done = await follow(context, 'reading images', await sets.rescan({ id }, { signal: context.signal }));
    tellRead(context, [done], []);
    return done.failed.length > 0 ? 1 : 0;
  });
}

function tellRead({ report }: CommandContext, sets: readonly Rescanned[], failed: readonly FailedFile[]): void {
  const lines = sets.flatMap(({ setId, name, added, removed, changed, moved, failed: bad }) => [
    `${String(setId).padStart(5)}  ${name}: ${added.length} added, ${changed.length} changed, ${moved.length} moved, ${removed.length} gone`,
    ...failedLines(bad),
  ]);
  report.result([...lines, ...failedLines(failed)].join('\n'), { type: 'read', sets, failed });
}

export async function removeSets({ report }: CommandContext, ids: readonly number[]): Promise<void> {
  const { removed } = await withLibrary('sets rm', ({ sets }) => sets.remove({ ids: [...ids] }));
  report.result(`${removed.length} in the trash; i2l sets undo brings them back.`, { type: 'removed', removed });
}

export async function undoSets({ report }: CommandContext, ids: readonly number[]): Promise<void> {
  const { restored } = await withLibrary('sets undo', ({ sets }) => sets.undo({ ids: [...ids] }));
  report.result(`${restored.length} out of the trash.`, { type: 'restored', restored });
}

function setLine({ id, name, imageCount, target, folder }: SetSummary): string {
  const facts = [counted(imageCount, 'image'), target ?? '', folder ?? ''].filter((fact) => fact !== '');
  return `${String(id).padStart(5)}  ${name} (${facts.join(', ')})`;
}

function setWords(set: ImageSet, near: number): string {
  const alike = near === 0 ? [] : [`  ${counted(near, 'pair')} of images that look alike`];
  return [setLine(set), ...(set.notes === '' ? [] : [`  ${set.notes}`]), ...set.images.map(imageLine), ...alike].join('\n');
}

function imageLine({ file, width, height, weight, caption, state }: SetImage): string {
  const facts = [`${width} x ${height}`, weight === 1 ? '' : `weight ${weight}`, state === 'present' ? '' : (state ?? ''), caption];
  return `  ${file} (${facts.filter((fact) => fact !== '').join(', ')})`;
}
