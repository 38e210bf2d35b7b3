import { implement } from '@orpc/server';
import { I2lError } from '../contract/errors.ts';
import type { FailedFile, Storage } from '../contract/library-values.ts';
import { lorasContract } from '../contract/loras.ts';
import type { Library } from '../library/library.ts';
import { readLora } from '../pipelines/inspect-lora.ts';
import { answerErrors } from './base.ts';
import { withProgress } from './progress-stream.ts';
import type { SetsContext } from './sets.ts';

export interface LorasContext extends SetsContext {
  /** Shows a file in the system's file manager; absent in a server. */
  readonly showInFolder?: ((file: string) => void) | undefined;
  /** Lets the system drag files out of the window that asks; absent in a server. */
  readonly dragOut?: ((files: readonly string[]) => Promise<void>) | undefined;
}

const loras = implement(lorasContract).$context<LorasContext>().use(answerErrors);

export const lorasRouter = loras.router({
  list: loras.list.handler(({ input, context: { library } }) => library.loras.list(input)),
  get: loras.get.handler(({ input: { id }, context: { library } }) => library.loras.get(id)),
  update: loras.update.handler(async ({ input: { id, change, files }, context: { library } }) => {
    const { name, ...others } = change;
    const { name: before } = library.loras.view(id);
    if (name !== undefined && name !== before) await library.loraFiles.rename(id, name, files);
    return library.loras.update(id, others);
  }),
  bulk: loras.bulk.handler(({ input: { ids, change }, context: { library } }) => ({ changed: library.loras.bulk(ids, change) })),
  remove: loras.remove.handler(({ input: { ids, files }, context: { library } }) => library.loraFiles.remove(ids, files)),
  undo: loras.undo.handler(({ input: { ids }, context: { library } }) => library.loraFiles.undo(ids)),
  emptyTrash: loras.emptyTrash.handler(({ context: { library } }) => library.loraFiles.emptyTrash()),
  import: loras.import.handler(({ input: { files, storage }, context: { library, allowPath }, signal }) => {
    const allowed = files.map(allowPath);
    return withProgress((options) => importLoras(library, allowed, storage, options), signal);
  }),
  duplicates: loras.duplicates.handler(({ context: { library } }) => ({ groups: library.loras.duplicates() })),
  versions: loras.versions.handler(({ input: { id }, context: { library } }) => ({ loras: library.loras.versions(id) })),
  reveal: loras.reveal.handler(async ({ input: { id }, context: { library, showInFolder } }) => {
    if (!showInFolder) throw onlyOnDesktop();
    showInFolder(await presentFile(library, id));
    return {};
  }),
  dragOut: loras.dragOut.handler(async ({ input: { ids }, context: { library, dragOut } }) => {
    if (!dragOut) throw onlyOnDesktop();
    await dragOut(await Promise.all(ids.map((id) => presentFile(library, id))));
    return {};
  }),
  exports: loras.exports.handler(async ({ input: { id }, context: { library } }) => {
    library.loras.view(id);
    return { exports: await library.loraExports.of(id) };
  }),
  tags: loras.tags.handler(({ context: { library } }) => ({ tags: library.loras.tags() })),
});

function onlyOnDesktop(): I2lError {
  const message = 'Only the desktop app can do this; in a browser, download the file in its place.';
  return new I2lError('BAD_ARGUMENT', message, { reason: 'not-in-browser' });
}

/** @throws I2lError NOT_IN_LIBRARY, FILE_NOT_FOUND */
async function presentFile(library: Library, id: number): Promise<string> {
  const { file, state } = await library.loras.get(id);
  if (state === 'missing') throw new I2lError('FILE_NOT_FOUND', `${file}: this file is gone.`, { file });
  return file;
}

interface ImportOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, total: number) => void;
}

interface Imported {
  readonly type: 'done';
  readonly added: number[];
  readonly duplicates: { file: string; id: number }[];
  readonly failed: FailedFile[];
}

/** One after the other: each is read whole for its hashes. */
async function importLoras(
  library: Library,
  files: readonly string[],
  storage: Storage,
  { signal, onProgress }: ImportOptions,
): Promise<Imported> {
  const result: Imported = { type: 'done', added: [], duplicates: [], failed: [] };
  for (const [i, file] of files.entries()) {
    if (signal.aborted) throw new I2lError('CANCELLED', 'Cancelled; the LoRAs imported so far are kept.');
    try {
      const { id, duplicate } = await library.loraFiles.bringInOnce(await readLora(file), storage);
      if (duplicate) result.duplicates.push({ file, id });
      else result.added.push(id);
    } catch (thrown) {
      result.failed.push({ file, error: I2lError.from(thrown).toShape() });
    }
    onProgress(i + 1, files.length);
  }
  return result;
}
