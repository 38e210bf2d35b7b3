import { resolve } from 'node:path';
import { formatBytes } from '../contract/format-bytes.ts';
import type { LoraDetail, LoraView } from '../contract/loras.ts';
import { dataFolder } from '../data-folder.ts';
import { restoreLibrary } from '../library/restore.ts';
import type { CommandContext } from './commands.ts';
import { failedLines } from './failed-lines.ts';
import { follow, withLibrary } from './library-client.ts';
import { counted } from './report.ts';

/** i2l library: the LoRAs that were made or brought here, and the library as a whole. */

export interface ListLorasOptions {
  readonly text?: string;
  readonly target?: string;
  readonly expert?: string;
  readonly tag?: readonly string[];
  readonly missing?: boolean;
  readonly trashed?: boolean;
  readonly limit: number;
  readonly offset: number;
}

export async function listLoras({ report }: CommandContext, { tag = [], ...options }: ListLorasOptions): Promise<void> {
  const { total, loras } = await withLibrary('library ls', (client) => client.loras.list({ ...options, tagsAll: [...tag] }));
  const lines = loras.map(loraLine);
  if (total > loras.length) lines.push(`${loras.length} of ${total}; see --limit and --offset`);
  report.result(lines.length === 0 ? 'There are no LoRAs.' : lines.join('\n'), { type: 'loras', total, loras });
}

export async function showLora({ report }: CommandContext, id: number): Promise<void> {
  const { lora, exports, versions } = await withLibrary('library show', async ({ loras }) => ({
    lora: await loras.get({ id }),
    exports: (await loras.exports({ id })).exports,
    versions: (await loras.versions({ id })).loras,
  }));
  const lines = [
    ...loraWords(lora),
    ...exports.map(({ path, state }) => `  exported to ${path} (${state})`),
    ...versions.filter((version) => version.id !== id).map((version) => `  same recipe:${loraLine(version)}`),
  ];
  report.result(lines.join('\n'), { type: 'lora', lora, exports, versions });
}

export interface ImportLorasOptions {
  readonly copy?: boolean;
}

/** @returns 1 if a file could not be taken */
export async function importLoras(
  context: CommandContext,
  files: readonly string[],
  { copy = false }: ImportLorasOptions,
): Promise<number> {
  return withLibrary('library import', async ({ loras }) => {
    const input = { files: [...files], storage: copy ? ('copied' as const) : ('referenced' as const) };
    const done = await follow(context, 'reading LoRAs', await loras.import(input, { signal: context.signal }));
    const { added, duplicates, failed } = done;
    const there = duplicates.map(({ file, id }) => `  ${file} is there as number ${id}`);
    const words = [
      `${added.length} added, ${duplicates.length} there already, ${failed.length} not usable`,
      ...there,
      ...failedLines(failed),
    ];
    context.report.result(words.join('\n'), { ...done, type: 'imported' });
    return failed.length > 0 ? 1 : 0;
  });
}

export interface TagOptions {
  readonly add: readonly string[];
  readonly remove: readonly string[];
}

export async function tagLoras({ report }: CommandContext, ids: readonly number[], { add, remove }: TagOptions): Promise<void> {
  const change = { tag: [...add], untag: [...remove] };
  const { changed } = await withLibrary('library tag', ({ loras }) => loras.bulk({ ids: [...ids], change }));
  report.result(`${changed.length} changed.`, { type: 'changed', changed });
}

/** @returns 1 if one could not be moved */
export async function removeLoras({ report }: CommandContext, ids: readonly number[]): Promise<number> {
  const { removed, failed } = await withLibrary('library rm', ({ loras }) => loras.remove({ ids: [...ids] }));
  const words = [`${removed.length} in the trash; i2l library undo brings them back.`, ...failedLines(failed)];
  report.result(words.join('\n'), { type: 'removed', removed, failed });
  return failed.length > 0 ? 1 : 0;
}

/** @returns 1 if one could not be moved */
export async function undoLoras({ report }: CommandContext, ids: readonly number[]): Promise<number> {
  const { restored, failed } = await withLibrary('library undo', ({ loras }) => loras.undo({ ids: [...ids] }));
  report.result([`${restored.length} out of the trash.`, ...failedLines(failed)].join('\n'), {
    type: 'restored',
    restored,
    failed,
  });
  return failed.length > 0 ? 1 : 0;
}

export async function libraryInfo({ report }: CommandContext): Promise<void> {
  const info = await withLibrary('library info', ({ library }) => library.info({}));
  const { folder, bytes, version, sets, images, loras, trashed, backups } = info;
  const words = [
    folder,
    `  ${counted(loras, 'LoRA')}, ${counted(sets, 'image set')} of ${counted(images, 'image')}, ${trashed} in the trash`,
    `  database ${formatBytes(bytes)}, version ${version}; ${counted(backups.length, 'backup')}`,
    ...backups.map((backup) => `    ${backup}`),
  ];
  report.result(words.join('\n'), { type: 'library', ...info });
}

/** @returns 1 if something is wrong */
export async function checkLibrary({ report }: CommandContext): Promise<number> {
  const found = await withLibrary('library check', ({ library }) => library.check({}));
  const { faults, missingLoras, missingImages, unlisted } = found;
  const lines = [
    ...faults.map((fault) => `! ${fault}`),
    ...missingLoras.map(({ id, file }) => `LoRA ${id} is gone: ${file}`),
    ...missingImages.map(({ setId, file }) => `image of set ${setId} is gone or has changed: ${file}`),
    ...unlisted.map((file) => `not in the library: ${file} (i2l library import brings it in)`),
  ];
  report.result(lines.length === 0 ? 'The library is sound, and every file of it is there.' : lines.join('\n'), {
    type: 'check',
    ...found,
  });
  return faults.length + missingLoras.length + missingImages.length > 0 ? 1 : 0;
}

export async function backUp({ report }: CommandContext, to: string | undefined): Promise<void> {
  const { file } = await withLibrary('library backup', ({ library }) => library.backup({ to }));
  report.result(file, { type: 'backup', file });
}

/** Nobody may have the library open meanwhile. @throws I2lError as restoreLibrary */
export async function restore({ report }: CommandContext, file: string): Promise<void> {
  const kept = (await restoreLibrary(dataFolder(), resolve(file), { name: 'i2l library restore' })) ?? null;
  const words = [`${file} is the library now.`, ...(kept === null ? [] : [`  The old one is kept: ${kept}`])];
  report.result(words.join('\n'), { type: 'restored', file, kept });
}

/** @returns 1 if a file could not be removed */
export async function emptyTrash({ report }: CommandContext): Promise<number> {
  const done = await withLibrary('library empty-trash', ({ library }) => library.emptyTrash({}));
  const { sets, loras, images, failed } = done;
  const words = [
    `Gone for good: ${counted(loras, 'LoRA')}, ${counted(sets, 'image set')}, ${counted(images, 'image')}.`,
    ...failedLines(failed),
  ];
  report.result(words.join('\n'), { type: 'emptied', ...done });
  return failed.length > 0 ? 1 : 0;
}

function loraLine({ id, name, target, rank, bytes, tags, rating, missing, synthetic }: LoraView): string {
  const facts = [
    target,
    `rank ${rank.min === rank.max ? rank.max : `${rank.min} to ${rank.max}`}`,
    formatBytes(bytes),
    '*'.repeat(rating),
    missing ? 'its file is gone' : '',
    synthetic ? 'demo' : '',
    ...tags.map((tag) => `#${tag}`),
  ].filter((fact) => fact !== '');
  return `${String(id).padStart(5)}  ${name} (${facts.join(', ')})`;
}

function loraWords(lora: LoraDetail): string[] {
  const { file, state, experts, madeFrom, triggerWords, defaultStrength, notes, warning, sha256, autoV2, autoV3, madeAt } = lora;
  const made = madeAt === null ? '' : `, ${new Date(madeAt).toISOString().slice(0, 16).replace('T', ' ')}`;
  const lines = [
    `${file} (${state}${made})`,
    experts.length === 0
      ? ''
      : `experts ${experts.map(({ expert, role, strength }) => `${role ?? expert} x ${strength}`).join(', ')}`,
    madeFrom
      ? `made of ${counted(madeFrom.images.length, 'image')}${madeFrom.name === undefined ? '' : ` of ${madeFrom.name}`}`
      : '',
    triggerWords.length === 0 ? '' : `trigger words ${triggerWords.join(', ')}`,
    defaultStrength === 1 ? '' : `strength ${defaultStrength}`,
    `sha256 ${sha256}, AutoV2 ${autoV2}, AutoV3 ${autoV3}`,
    warning === '' ? '' : `! ${warning}`,
    notes,
  ];
  return [loraLine(lora), ...lines.filter((line) => line !== '').map((line) => `  ${line}`)];
}
