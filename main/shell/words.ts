import type { Settings } from '../contract/app.ts';
import type { JobView } from '../contract/queue.ts';

/** What the system's notifications say of a job that has ended; all else that is shown is the page's. */
export type EndWords = (job: Pick<JobView, 'state' | 'error'>) => string;

const WORDS = {
  en: ({ state, error }) => (state === 'done' ? 'Done.' : (error?.message ?? 'It failed; the queue says why.')),
  'zh-CN': ({ state }) => (state === 'done' ? '已完成。' : '失败，原因见队列。'),
} satisfies Record<string, EndWords>;

/** @param locale the system's, e.g. 'zh-CN' or 'de' */
export function endWords(language: Settings['language'], locale: string): EndWords {
  if (language !== 'system') return WORDS[language];
  return locale.toLowerCase().startsWith('zh') ? WORDS['zh-CN'] : WORDS.en;
}
