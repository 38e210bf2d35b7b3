import { api } from '../../api/client.ts';
import { library } from '../../state/library.svelte.ts';
import { notices } from '../../state/notices.svelte.ts';
import { router } from '../../state/route.svelte.ts';
import { loraUploads } from '../../state/uploads.svelte.ts';
import { droppedOf } from '../../ui/dropped.ts';

/** What can be done with LoRAs of the library, each with the notice that tells of it. */

/** Files that were dropped, and LoRAs in folders that were. */
export async function importDropped(transfer: DataTransfer): Promise<void> {
  await notices.attempt(async () => {
    const { files, folders } = await droppedOf(transfer, ['.safetensors']);
    loraUploads.add([...files, ...folders.flatMap((folder) => folder.files)], 'library');
  });
}

export async function removeLoras(ids: readonly number[]): Promise<void> {
  await notices.attempt(async () => {
    const { removed, failed } = await api.loras.remove({ ids: [...ids] });
    forget(removed);
    if (removed.length > 0)
      notices.say(({ library: words }) => words.removed(removed.length), {
        label: ({ library: words }) => words.undo,
        run: () => void restoreLoras(removed),
      });
    for (const { error } of failed) notices.fail(error);
    await library.refresh();
  });
}

export async function restoreLoras(ids: readonly number[]): Promise<void> {
  await notices.attempt(async () => {
    const { restored, failed } = await api.loras.undo({ ids: [...ids] });
    forget(restored);
    if (restored.length > 0) notices.say(({ library: words }) => words.restored(restored.length));
    for (const { error } of failed) notices.fail(error);
    await library.refresh();
  });
}

export async function emptyTrash(): Promise<void> {
  await notices.attempt(async () => {
    const { removed, failed } = await api.loras.emptyTrash({});
    library.selected.clear();
    notices.say(({ library: words }) => words.emptied(removed));
    for (const { error } of failed) notices.fail(error);
    await library.refresh();
  });
}

/** Says that a job was enqueued. */
export async function enqueued(job: Promise<{ readonly id: number; readonly title: string }>): Promise<boolean> {
  return notices.attempt(async () => {
    const { id, title } = await job;
    notices.say(({ library: words }) => `${words.queued}: ${title}`, {
      label: ({ library: words }) => words.openQueue,
      run: () => router.go('queue', id),
    });
  });
}

/** What is no longer in this list is neither selected nor open. */
function forget(ids: readonly number[]): void {
  for (const id of ids) library.selected.delete(id);
  if (ids.includes(Number(router.route.id))) router.go('library');
}
