import { note, type Note } from '../contract/notes.ts';
import type { Metadata } from './decode.ts';

/**
 * What was done to an image beyond decoding, for the user.
 * @param transparent whether any of its pixels was: many images have an alpha channel and no use for it
 */
export function notesOn(file: string, metadata: Metadata, transparent: boolean): Note[] {
  const { width, height } = metadata;
  const aspect = Math.max(width, height) / Math.min(width, height);
  const notes = [
    (metadata.orientation ?? 1) > 1 && note('IMAGE_TURNED', `${file}: turned upright by its EXIF orientation.`, { file }),
    (metadata.pages ?? 1) > 1 && ofSeveral(file, metadata),
    transparent && note('IMAGE_ON_WHITE', `${file}: transparency laid on white.`, { file }),
    metadata.space === 'cmyk' && note('IMAGE_FROM_CMYK', `${file}: CMYK colours converted to sRGB.`, { file }),
    metadata.icc &&
      metadata.space !== 'cmyk' &&
      !isSrgb(metadata.icc) &&
      note('IMAGE_TO_SRGB', `${file}: colour profile converted to sRGB.`, { file }),
    (metadata.depth === 'ushort' || metadata.depth === 'float') &&
      note('IMAGE_TO_8_BITS', `${file}: reduced to 8 bits a channel.`, { file }),
    metadata.channels <= 2 &&
      metadata.space !== 'cmyk' &&
      note('IMAGE_GREY', `${file}: greyscale: all three channels are the same.`, { file }),
    aspect > 3 && note('IMAGE_MIDDLE', `${file}: ${width} x ${height}: only its middle square is seen.`, { file, width, height }),
  ];
  return notes.filter((given) => typeof given === 'object');
}

function ofSeveral(file: string, { format, pages = 1 }: Metadata): Note {
  return format === 'tiff'
    ? note('IMAGE_FIRST_PAGE', `${file}: several pages: only the first of ${pages} pages is used.`, { file, pages })
    : note('IMAGE_FIRST_FRAME', `${file}: animated: only the first of ${pages} frames is used.`, { file, frames: pages });
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
