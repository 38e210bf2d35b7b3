import { openImage, readImageBytes } from '../../main/imaging/decode.ts';
import { notesOn } from '../../main/imaging/notes.ts';
import type { Pixels } from '../../main/imaging/resample.ts';
import { decodeRows, rowsOf } from '../../main/imaging/rows.ts';

export interface DecodedImage {
  /** Upright. */
  readonly pixels: Pixels<Uint8Array>;
  readonly notes: readonly string[];
}

/** All rows of an image file put together. @throws as decodeRows and openImage */
export async function decodeImage(file: string, stripBytes = Infinity): Promise<DecodedImage> {
  const image = await openImage(file, readImageBytes(file));
  const { width, height, channels, byColumns } = rowsOf(image.metadata);
  const data = new Uint8Array(width * height * channels);
  const take = (y: number, row: Uint8Array): void => {
    if (byColumns) {
      for (let i = 0; i < row.length; i++)
        data[(Math.floor(i / channels) * width + y) * channels + (i % channels)] = row[i] as number;
    } else data.set(row, y * width * channels);
  };
  const isTransparent = await decodeRows(image, { file, stripBytes, take });
  const notes = notesOn(file, image.metadata, isTransparent).map(({ message }) => message.slice(`${file}: `.length, -1));
  return { pixels: { data, width, height, channels }, notes };
}
