const CUT = '…';

/**
 * A text of at most so many characters (UTF-16 units): one that is too long ends in an ellipsis, behind a whole
 * character.
 */
export function cutText(text: string, most: number): string {
  if (text.length <= most) return text;
  let kept = '';
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    if (kept.length + segment.length + CUT.length > most) break;
    kept += segment;
  }
  return kept.trimEnd() + CUT;
}
