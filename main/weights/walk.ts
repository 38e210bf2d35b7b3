import { opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError, I2lError, systemCode } from '../contract/errors.ts';

/** A safetensors file, or the index of sharded ones. */
export interface WeightFile {
  readonly name: string;
  readonly path: string;
  readonly size: number;
  readonly modifiedMs: number;
  /** The same for every name of one file on the disk. */
  readonly node: string;
}

export interface WalkedFolder {
  readonly folder: string;
  readonly files: readonly WeightFile[];
}

export interface WalkLimits {
  readonly depth: number;
  /** Names looked at below one root. */
  readonly entries: number;
  readonly milliseconds: number;
}

export const WALK_LIMITS: WalkLimits = { depth: 12, entries: 300_000, milliseconds: 20_000 };

export interface WalkOptions {
  readonly limits?: WalkLimits;
  /** Folders that were walked already, whatever they were called then. */
  readonly seen?: Set<string>;
  readonly signal?: AbortSignal | undefined;
  /** What could not be looked into. */
  readonly onTrouble?: (error: I2lError) => void;
}

/** Nothing for us in there: other kinds of things in the hubs' caches, unfinished downloads, other programs' insides. */
const SKIPPED =
  /^(\..*|datasets--.*|spaces--.*|node_modules|__pycache__|site-packages|venv|\$RECYCLE\.BIN|System Volume Information)$/;
const WEIGHTS = /\.safetensors(\.index\.json)?$/;

/**
 * Folders below a root that have safetensors files in them, through symbolic links too; each folder of the
 * disk once, so that a loop of links ends. It stops at its limits, and tells so.
 */
export async function* walk(root: string, options: WalkOptions = {}): AsyncGenerator<WalkedFolder> {
  const { limits = WALK_LIMITS, seen = new Set(), signal, onTrouble } = options;
  const until = performance.now() + limits.milliseconds;
  let entries = 0;
  const waiting = [{ folder: root, depth: 0 }];
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    const { folder, depth } = next;
    if (signal?.aborted) throw new I2lError('CANCELLED', 'Cancelled.');
    if (entries > limits.entries || performance.now() > until) {
      onTrouble?.(tooLarge(root, folder));
      return;
    }
    try {
      const look = await lookInto(folder, seen, limits.entries - entries);
      entries += look.entries;
      if (depth < limits.depth) waiting.push(...look.folders.map((inner) => ({ folder: inner, depth: depth + 1 })));
      for (const dead of look.dead) onTrouble?.(deadLink(dead));
      if (look.files.length > 0) yield { folder, files: look.files };
    } catch (error) {
      // A root that isn't there is no trouble, unless the user named it: see discover.ts.
      if (systemCode(error) !== 'ENOENT' && systemCode(error) !== 'ENOTDIR') onTrouble?.(fileError(folder, 'read', error));
    }
  }
}

interface Look {
  readonly files: WeightFile[];
  readonly folders: string[];
  /** Links to nothing that are named as weights. */
  readonly dead: string[];
  entries: number;
}

async function lookInto(folder: string, seen: Set<string>, most: number): Promise<Look> {
  const look: Look = { files: [], folders: [], dead: [], entries: 0 };
  const own = await stat(folder, { bigint: true });
  const node = `${own.dev}:${own.ino}`;
  if (!own.isDirectory() || seen.has(node)) return look;
  seen.add(node);
  for await (const entry of await opendir(folder, { bufferSize: 256 })) {
    if (look.entries++ > most) break;
    const path = join(folder, entry.name);
    const mayBeFolder = entry.isDirectory() || (entry.isSymbolicLink() && !WEIGHTS.test(entry.name));
    if (mayBeFolder && !SKIPPED.test(entry.name)) look.folders.push(path);
    else if (!entry.isDirectory() && WEIGHTS.test(entry.name) && !entry.name.startsWith('.')) await addFile(look, entry.name, path);
  }
  look.folders.sort();
  look.files.sort((a, b) => (a.name < b.name ? -1 : 1));
  return look;
}

async function addFile(look: Look, name: string, path: string): Promise<void> {
  try {
    const found = await stat(path, { bigint: true });
    if (found.isDirectory()) look.folders.push(path);
    // What is neither (a pipe, a device) is nobody's model.
    if (!found.isFile()) return;
    look.files.push({ name, path, size: Number(found.size), modifiedMs: Number(found.mtimeMs), node: `${found.dev}:${found.ino}` });
  } catch {
    look.dead.push(path);
  }
}

function tooLarge(root: string, folder: string): I2lError {
  const message = `${root}: it is too large to be looked through; the search stopped at ${folder}. Name the folder that has the models.`;
  return new I2lError('FILE_UNREADABLE', message, { file: root, stoppedAt: folder, reason: 'too-many-files' });
}

function deadLink(file: string): I2lError {
  return new I2lError('FILE_NOT_FOUND', `${file}: it is a link to a file that is gone, or can't be read.`, { file });
}
