import { dirname, isAbsolute, resolve } from 'node:path';
import { I2lError, type ErrorReason } from '../contract/errors.ts';

/**
 * A path that a window or a browser names: whole, since the app's own folder means nothing to who sends it, and of
 * files, not of devices.
 * @throws I2lError BAD_ARGUMENT
 */
export function windowPath(path: string): string {
  if (!isAbsolute(path)) throw refused(path, 'path-not-whole', 'give it whole, from the root or the drive on');
  if (/^[\\/]{2}[.?][\\/]/.test(path)) throw refused(path, 'path-of-device', 'devices are not read');
  return resolve(path);
}

/**
 * What the user chose in dialogs of the app's, and what lies in such a folder: all that the desktop's page may name.
 * So a page that has fallen into other hands reaches no other file.
 */
export class ChosenPaths {
  readonly #chosen = new Set<string>();

  /** @param own the app's own folders whose files it offers to the page */
  constructor(own: readonly string[] = []) {
    this.add(own);
  }

  add(paths: readonly string[]): void {
    for (const path of paths) this.#chosen.add(resolve(path));
  }

  /** @returns the path made absolute. @throws I2lError BAD_ARGUMENT */
  allow(path: string): string {
    const whole = windowPath(path);
    const isChosen = (at: string): boolean => this.#chosen.has(at) || (dirname(at) !== at && isChosen(dirname(at)));
    if (!isChosen(whole)) throw refused(path, 'path-not-chosen', 'choose it by the button beside the field');
    return whole;
  }
}

function refused(path: string, reason: ErrorReason, why: string): I2lError {
  return new I2lError('BAD_ARGUMENT', `${path}: this path can't be used; ${why}.`, { file: path, reason });
}
