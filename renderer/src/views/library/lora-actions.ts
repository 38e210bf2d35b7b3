import { api } from '../../api/client.ts';
import type { Dictionary } from '../../i18n/en/index.ts';
import { library } from '../../state/library.svelte.ts';
import { notices } from '../../state/notices.svelte.ts';
import { router } from '../../state/route.svelte.ts';
import { loraUploads } from '../../state/uploads.svelte.ts';
import { droppedOf } from '../../ui/dropped.ts';

type Words = Dictionary['library'];

/** What can be done with LoRAs of the library, each with the notice that tells of it. */

/** Files that were dropped, and LoRAs in folders that were. */
export async function importDropped(transfer: DataTransfer): Promise<void> {
  await notices.attempt(async () => {
    const { files, folders } = await droppedOf(transfer, ['.safetensors']);
    loraUploads.add([...files, ...folders.flatMap((folder) => folder.files)], 'library');
  });
}

export async function removeLoras(ids: readonly number[], words: Words): Promise<void> {
  await notices.attempt(async () => {
    const { removed, failed } = await api.loras.remove({ ids: [...ids] });
    forget(removed);
    if (removed.length > 0)
      notices.say(words.removed(removed.length), { label: words.undo, run: () => void restoreLoras(removed, words) });
    for (const { error } of failed) notices.fail(error);
    await library.refresh();
  });
}

export async function restoreLoras(ids: readonly number[], words: Words): Promise<void> {
  await notices.attempt(async () => {
    const { restored, failed } = await api.loras.undo({ ids: [...ids] });
    forget(restored);
    if (restored.length > 0) notices.say(words.restored(restored.length));
    for (const { error } of failed) notices.fail(error);
    await library.refresh();
  });
}

export async function emptyTrash(words: Words): Promise<void> {
  await notices.attempt(async () => {
    const { removed, failed } = await api.loras.emptyTrash({});
    library.selected.clear();
    notices.say(words.emptied(removed));
    for (const { error } of failed) notices.fail(error);
    await library.refresh();
  });
}

/** Says that a job was enqueued. */
export async function enqueued(job: Promise<{ readonly id: number; readonly title: string }>, words: Words): Promise<boolean> {
  return notices.attempt(async () => {
    const { id, title } = await job;
    notices.say(`${words.queued}: ${title}`, { label: words.openQueue, run: () => router.go('queue', id) });
  });
}

/** What is no longer in this list is neither selected nor open. */
function forget(ids: readonly number[]): void {
  for (const id of ids) library.selected.delete(id);
  if (ids.includes(Number(router.route.id))) router.go('library');
}
