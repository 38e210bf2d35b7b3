import { cutText } from '../contract/cut-text.ts';
import { MOST_TITLE } from '../contract/queue.ts';

/** A job's title as it is kept. */
export function cutTitle(title: string): string {
  return cutText(title, MOST_TITLE);
}
