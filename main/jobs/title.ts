import { MOST_TITLE } from '../contract/queue.ts';

const CUT = '…';

/** A job's title as it is kept: one that is too long ends in an ellipsis, behind a whole character. */
export function cutTitle(title: string): string {
  if (title.length <= MOST_TITLE) return title;
  let kept = '';
  for (const { segment } of new Intl.Segmenter().segment(title)) {
    if (kept.length + segment.length + CUT.length > MOST_TITLE) break;
    kept += segment;
  }
  return kept.trimEnd() + CUT;
}
