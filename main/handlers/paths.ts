import { isAbsolute, resolve } from 'node:path';
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

function refused(path: string, reason: ErrorReason, why: string): I2lError {
  return new I2lError('BAD_ARGUMENT', `${path}: this path can't be used; ${why}.`, { file: path, reason });
}
