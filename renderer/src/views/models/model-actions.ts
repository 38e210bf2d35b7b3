import Copy from '@lucide/svelte/icons/copy';
import ListTodo from '@lucide/svelte/icons/list-todo';
import ShieldCheck from '@lucide/svelte/icons/shield-check';
import Trash from '@lucide/svelte/icons/trash-2';
import Wrench from '@lucide/svelte/icons/wrench';
import type { ModelView } from '../../../../main/contract/models.ts';
import type { JobView } from '../../../../main/contract/queue.ts';
import { api } from '../../api/client.ts';
import type { Dictionary } from '../../i18n/en/index.ts';
import { notices } from '../../state/notices.svelte.ts';
import { router } from '../../state/route.svelte.ts';
import { copyText } from '../../ui/clipboard.ts';
import type { MenuItem } from '../../ui/menu.ts';
import type { RowState } from './model-view.ts';

/** What can be done with a model besides downloading it. Only files that the app brought can be mended or deleted. */
export function menuOf(
  { id, state, isDownloaded, found }: ModelView,
  job: JobView | undefined,
  shown: RowState,
  words: Dictionary['models'],
  onRemove: () => void,
): readonly MenuItem[] {
  const verify = (repair: boolean) => async (): Promise<void> => {
    await api.models.verify({ models: [id], repair });
    notices.say(({ models: words }) => (repair ? words.repairQueued : words.verifyQueued));
  };
  const item = (label: string, icon: MenuItem['icon'], run: () => unknown): MenuItem => ({
    label,
    ...(icon ? { icon } : {}),
    run: () => void notices.attempt(async () => run()),
  });
  const path = found?.path;
  return [
    ...(state === 'here' ? [item(words.verify, ShieldCheck, verify(false))] : []),
    ...(shown === 'damaged' && isDownloaded ? [item(words.repair, Wrench, verify(true))] : []),
    ...(path === undefined ? [] : [item(words.copyPath, Copy, () => copy(path))]),
    ...(job ? [item(words.openJob, ListTodo, () => router.go('queue', job.id))] : []),
    ...(isDownloaded ? [{ ...item(words.remove, Trash, onRemove), danger: true, divided: true }] : []),
  ];
}

async function copy(path: string): Promise<void> {
  await copyText(path);
  notices.say(({ models: words }) => words.pathCopied);
}
