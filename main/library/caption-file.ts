import { readFile, stat } from 'node:fs/promises';
import { extname } from 'node:path';
import { fileError, I2lError, systemCode } from '../contract/errors.ts';

/** Trainers keep an image's caption in a text beside it: fox.jpg and fox.txt. */
const MOST_BYTES = 64 * 1024;
const MOST_CHARACTERS = 20_000;

/**
 * The caption of an image's text file, '' if there is none.
 * @throws I2lError FILE_UNREADABLE naming the text
 */
export async function readCaption(image: string): Promise<string> {
  const file = `${image.slice(0, image.length - extname(image).length)}.txt`;
  try {
    const { size } = await stat(file);
    if (size > MOST_BYTES) {
      throw new I2lError('FILE_UNREADABLE', `${file}: it has ${size} bytes; a caption has at most ${MOST_BYTES}.`, { file });
    }
    const text = new TextDecoder().decode(await readFile(file));
    return text.replaceAll('\0', ' ').trim().slice(0, MOST_CHARACTERS).toWellFormed();
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return '';
    throw fileError(file, 'read', error);
  }
}
