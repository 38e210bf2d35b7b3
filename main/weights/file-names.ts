import { I2lError } from '../contract/errors.ts';

/** Names that Windows, macOS and Linux all take, whatever text they are made from. */

/**
 * Longest name without its ending, in bytes of UTF-8: file systems allow 255 for all of it, and beside the
 * ending there have to fit a version and the temporary file's own ending.
 */
export const MOST_NAME_BYTES = 180;

/** Invisible characters, among them those that turn the direction of writing. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}]/gu;
/** Windows' devices, with any ending. */
const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00B9\u00B2\u00B3]) *(?:\.|$)/i;

/**
 * Makes a file name of any text: composed characters (NFC), no separators or other characters that a platform
 * refuses, no dots or spaces at its ends, no device of Windows, not too long. The same text gives the same name.
 * @param nameless what stands for a name of which nothing is left
 */
export function safeName(text: string, nameless = 'LoRA'): string {
  // Composed last: what was invisible may have stood between a letter and its accent.
  const visible = text
    .toWellFormed()
    .replace(/[\t\r\n]/g, ' ')
    .replace(INVISIBLE, '')
    .normalize('NFC');
  const allowed = visible.replace(/[<>:"/\\|?*\uFFFD]/g, '-').replace(/\s+/g, ' ');
  const name = trimmed(shortened(trimmed(allowed)));
  if (name === '') return nameless;
  return DEVICE.test(name) ? trimmed(shortened(`_${name}`)) : name;
}

function trimmed(text: string): string {
  return text.replace(/^[\s.]+|[\s.]+$/g, '');
}

function shortened(text: string): string {
  let bytes = 0;
  let kept = '';
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > MOST_NAME_BYTES) break;
    kept += character;
  }
  return kept;
}

/** More are not looked for. */
export const MOST_VERSIONS = 1000;

/** @param file or the name, of which so many are there */
export function manyVersions(file: string): I2lError {
  return new I2lError('FILE_WRITE_FAILED', `${file}: ${MOST_VERSIONS} versions of it are there; choose another name.`, {
    file,
    reason: 'many-versions',
  });
}

/** 'style' is followed by 'style-v2', and that by 'style-v3'. */
export function versionName(name: string, version: number): string {
  if (version === 1) return name;
  const numbered = /^(.+)-v(\d{1,4})$/.exec(name);
  const [stem, first] = numbered ? [numbered[1] ?? name, Number(numbered[2])] : [name, 1];
  return `${stem}-v${first + version - 1}`;
}
