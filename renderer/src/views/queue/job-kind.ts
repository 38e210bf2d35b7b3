import type { JobView } from '../../../../main/contract/queue.ts';
import type { Dictionary } from '../../i18n/en/index.ts';

/** What a job does, in the user's language; nothing where its title says that, or of a kind that the page doesn't know. */
export function kindWords({ kind }: Pick<JobView, 'kind'>, { kinds }: Pick<Dictionary['queue'], 'kinds'>): string {
  return (kinds as Readonly<Record<string, string>>)[kind] ?? '';
}
