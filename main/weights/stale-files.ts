import { lstatSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { systemCode } from '../contract/errors.ts';

/**
 * Removes temporary files and folders that a dead process left beside `path` (see temporaryPath): after a crash
 * of the engine by its parent, and before each new write for those that lost both.
 * @param owner only those of this process, which the caller knows to be dead; without it, of all dead ones.
 * @returns the names that it removed.
 */
export function removeStaleParts(path: string, owner?: number): string[] {
  return removeParts(dirname(path), escapeRegExp(basename(path)), owner);
}

/** The same of all files of a folder. */
export function removeStalePartsIn(folder: string, owner?: number): string[] {
  return removeParts(folder, '.+', owner);
}

function removeParts(folder: string, names: string, owner: number | undefined): string[] {
  const pattern = new RegExp(`^${names}\\.(\\d+)-\\d+\\.i2l-part$`);
  const removed: string[] = [];
  for (const name of namesIn(folder)) {
    const pid = Number(pattern.exec(name)?.[1] ?? Number.NaN);
    if (Number.isNaN(pid)) continue;
    const file = join(folder, name);
    if (owner === undefined ? isBeingWritten(file, pid) : pid !== owner) continue;
    if (remove(file)) removed.push(name);
  }
  return removed;
}

function isBeingWritten(file: string, pid: number): boolean {
  return pid === process.pid ? !isOfEarlierStart(file) : isAlive(pid);
}

/** Some file systems know times to two seconds only. */
const COARSE_MS = 2000;

/**
 * Whether a file with our process's id in its name is older than the process: another one of the same id left it.
 * In a container each start's processes have the ids of the last one's.
 */
function isOfEarlierStart(file: string): boolean {
  return (lstatSync(file, { throwIfNoEntry: false })?.mtimeMs ?? Infinity) < performance.timeOrigin - COARSE_MS;
}

/** A leftover that can't be removed, another user's, is in nobody's way. */
function remove(file: string): boolean {
  try {
    rmSync(file, { force: true, recursive: true });
    return true;
  } catch {
    return false;
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // The write that follows meets the same folder and reports it by name.
  }
}

/** Whether there is a process of this id; one that has died and was not yet noted by its parent counts as dead. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !isZombie(pid);
  } catch (error) {
    return systemCode(error) === 'EPERM';
  }
}

/** Dead and not yet noted by its parent: for ever, in a container whose first process notes nobody's end. */
function isZombie(pid: number): boolean {
  if (process.platform !== 'linux') return false;
  try {
    return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
