import type { Metadata } from './decode.ts';

/**
 * What was done to an image beyond decoding, one sentence each, for the user.
 * @param transparent whether any of its pixels was: many images have an alpha channel and no use for it
 */
export function notesOn(metadata: Metadata, transparent: boolean): string[] {
  const { width, height } = metadata;
  const aspect = Math.max(width, height) / Math.min(width, height);
  const notes = [
    (metadata.orientation ?? 1) > 1 && 'turned upright by its EXIF orientation',
    (metadata.pages ?? 1) > 1 && ofSeveral(metadata),
    transparent && 'transparency laid on white',
    metadata.space === 'cmyk' && 'CMYK colours converted to sRGB',
    metadata.icc && metadata.space !== 'cmyk' && !isSrgb(metadata.icc) && 'colour profile converted to sRGB',
    (metadata.depth === 'ushort' || metadata.depth === 'float') && 'reduced to 8 bits a channel',
    metadata.channels <= 2 && metadata.space !== 'cmyk' && 'greyscale: all three channels are the same',
    aspect > 3 && `${width} x ${height}: only its middle square is seen`,
  ];
  return notes.filter((note) => typeof note === 'string');
}

function ofSeveral({ format, pages = 1 }: Metadata): string {
  const [what, parts] = format === 'tiff' ? ['several pages', 'pages'] : ['animated', 'frames'];
  return `${what}: only the first of ${pages} ${parts} is used`;
}

/**
 * Whether a profile calls itself sRGB in its description (ICC.1:2010, 9.2.41; ASCII in version 2, UTF-16 in
 * version 4): then its conversion changes nothing that a user would want to know.
 */
function isSrgb(icc: Buffer): boolean {
  const tags = icc.length < 132 ? 0 : Math.min(icc.readUInt32BE(128), Math.floor((icc.length - 132) / 12));
  for (let at = 132; at < 132 + 12 * tags; at += 12) {
    if (icc.toString('latin1', at, at + 4) !== 'desc') continue;
    const text = icc.subarray(icc.readUInt32BE(at + 4), icc.readUInt32BE(at + 4) + icc.readUInt32BE(at + 8));
    return text.toString('latin1').replaceAll('\0', '').includes('sRGB');
  }
  return false;
}
