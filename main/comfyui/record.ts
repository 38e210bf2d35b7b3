import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { fileError, I2lError, systemCode } from '../contract/errors.ts';
import type { FileState } from '../contract/file-state.ts';
import { publishOver, writePart } from '../weights/atomic-copy.ts';
import { fileState } from '../weights/file-state.ts';

/** What is in the app's data folder under this name. */
export const RECORD_NAME = 'comfyui-exports.json';

const entrySchema = z.object({
  /** sha256 of the LoRA, and so of the export when it was made. */
  sourceHash: z.string().regex(/^[0-9a-f]{64}$/),
  path: z.string().min(1),
  size: z.number().int().nonnegative(),
  mtimeMs: z.number(),
  /** When, ISO 8601 in UTC. */
  at: z.string(),
});

/** One LoRA that lies in a loras folder of ComfyUI, or did. */
export type ExportEntry = Readonly<z.infer<typeof entrySchema>>;

const VERSION = 1;

/**
 * Adds an export to the record; an older one of the same path goes. Safe from several processes at once.
 * @throws I2lError FILE_NOT_FOUND if the export is not there; FILE_WRITE_FAILED, FILE_UNREADABLE, DISK_FULL, UNSUPPORTED
 */
export async function recordExport(
  record: string,
  exported: { path: string; sha256: string },
  now = new Date(),
): Promise<ExportEntry> {
  const path = resolve(exported.path);
  const { size, mtimeMs } = await stat(path).catch((error: unknown) => {
    throw fileError(path, 'read', error);
  });
  const entry: ExportEntry = { sourceHash: exported.sha256, path, size, mtimeMs, at: now.toISOString() };
  await locked(record, async () => {
    const others = (await loadRepaired(record)).filter((other) => other.path !== path);
    await write(record, [...others, entry]);
  });
  return entry;
}

/**
 * All exports, oldest first. A record that can't be understood is set aside beside itself, with what is
 * still readable of it taken over; no record is an empty one.
 * @throws I2lError FILE_UNREADABLE, FILE_WRITE_FAILED; UNSUPPORTED if a newer version of the app wrote it
 */
export async function readExports(record: string): Promise<readonly ExportEntry[]> {
  const { entries, isWhole } = await load(record);
  if (isWhole) return entries;
  return locked(record, () => loadRepaired(record));
}

/** Whether each export is still there as it was written. Only one whose time changed is read whole. */
export async function checkExports(record: string): Promise<{ readonly entry: ExportEntry; readonly state: FileState }[]> {
  const checked: { entry: ExportEntry; state: FileState }[] = [];
  for (const entry of await readExports(record)) {
    const { state } = await fileState({ ...entry, bytes: entry.size, sha256: entry.sourceHash });
    checked.push({ entry, state });
  }
  return checked;
}

/** For exportToComfyui's wasUsed: whether a path once had content other than this. */
export async function nameHistory(record: string): Promise<(path: string, sha256: string) => boolean> {
  const hashes = new Map((await readExports(record)).map(({ path, sourceHash }) => [path, sourceHash]));
  return (path, sha256) => (hashes.get(resolve(path)) ?? sha256) !== sha256;
}

interface Loaded {
  readonly entries: readonly ExportEntry[];
  readonly isWhole: boolean;
}

async function load(record: string): Promise<Loaded> {
  try {
    return parse(await readFile(record, 'utf8'), record);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return { entries: [], isWhole: true };
    throw fileError(record, 'read', error);
  }
}

/** Under the lock: else the file set aside could be the good one that another process just wrote. */
async function loadRepaired(record: string): Promise<readonly ExportEntry[]> {
  const { entries, isWhole } = await load(record);
  if (!isWhole) {
    await setAside(record);
    await write(record, entries);
  }
  return entries;
}

function parse(text: string, record: string): Loaded {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { entries: [], isWhole: false };
  }
  const { data } = z.object({ version: z.number(), exports: z.array(z.unknown()) }).safeParse(value);
  if (data === undefined) return { entries: [], isWhole: false };
  if (data.version > VERSION) {
    throw new I2lError('UNSUPPORTED', `${record}: a newer version of i2L Studio wrote it; update this one.`, { file: record });
  }
  const entries = data.exports.map((item) => entrySchema.safeParse(item).data).filter((entry) => entry !== undefined);
  return { entries, isWhole: entries.length === data.exports.length };
}

async function setAside(record: string): Promise<void> {
  try {
    await rename(record, `${record}.damaged-${new Date().toISOString().replace(/[:.]/g, '-')}`);
  } catch (error) {
    throw fileError(record, 'write', error);
  }
}

async function write(record: string, entries: readonly ExportEntry[]): Promise<void> {
  await publishOver(await writePart(record, `${JSON.stringify({ version: VERSION, exports: entries }, null, 2)}\n`));
}

const LOCK_STEP_MS = 20;
const LOCK_REMOVAL_MS = 1000;
/** A change of the record takes milliseconds: a lock of this age was left by a process that died. */
const LOCK_STALE_MS = 10_000;

/** Runs `change` while no other process, nor another call of this one, changes the record. */
async function locked<T>(record: string, change: () => Promise<T>): Promise<T> {
  const lock = `${record}.lock`;
  await takeLock(lock);
  try {
    return await change();
  } finally {
    await rm(lock, { force: true }).catch(() => undefined);
  }
}

async function takeLock(lock: string): Promise<void> {
  await mkdir(dirname(lock), { recursive: true }).catch((error: unknown) => {
    throw fileError(lock, 'write', error);
  });
  for (let waited = 0; waited < 2 * LOCK_STALE_MS; waited += LOCK_STEP_MS) {
    try {
      await (await open(lock, 'wx')).close();
      return;
    } catch (error) {
      // Windows says EPERM of a file that is being removed, and of a folder that is not ours.
      const isTaken = systemCode(error) === 'EEXIST' || (process.platform === 'win32' && waited < LOCK_REMOVAL_MS);
      if (!isTaken) throw fileError(lock, 'write', error);
    }
    const taken = await stat(lock).catch(() => undefined);
    if (taken && Date.now() - taken.mtimeMs > LOCK_STALE_MS) await rm(lock, { force: true }).catch(() => undefined);
    else await sleep(LOCK_STEP_MS);
  }
  throw new I2lError('FILE_WRITE_FAILED', `${lock}: another process keeps it; close other windows of i2L Studio and try again.`, {
    file: lock,
    reason: 'held-by-others',
  });
}
