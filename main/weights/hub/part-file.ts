import { open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileError } from '../../contract/errors.ts';
import { syncFolder } from '../atomic-copy.ts';
import { lockDownload } from './download-lock.ts';
import { Journal, readJournal, type FinishedBlocks, type JournalHead } from './journal.ts';
import { makeFolder } from '../make-folder.ts';

/** A file that is being downloaded: the part itself, its journal, and the lock that keeps others away. */
export class PartFile {
  readonly target: string;
  readonly head: JournalHead;
  /** Blocks that an earlier run brought, not yet checked. */
  readonly earlier: FinishedBlocks;
  readonly #blocks: Map<number, string>;
  readonly #handle: FileHandle;
  readonly #journal: Journal;
  readonly #unlock: () => Promise<void>;

  private constructor(
    target: string,
    head: JournalHead,
    earlier: FinishedBlocks,
    handle: FileHandle,
    journal: Journal,
    unlock: () => Promise<void>,
  ) {
    this.target = target;
    this.head = head;
    this.earlier = earlier;
    this.#blocks = new Map(earlier);
    this.#handle = handle;
    this.#journal = journal;
    this.#unlock = unlock;
  }

  /**
   * Goes on with what an earlier run left of the same content, else starts anew.
   * @throws I2lError DOWNLOAD_BUSY, FILE_WRITE_FAILED, DISK_FULL
   */
  static async open(target: string, head: JournalHead): Promise<PartFile> {
    await makeFolder(dirname(target));
    const unlock = await lockDownload(target);
    let handle: FileHandle | undefined;
    try {
      const earlier = await usableBlocks(target, head);
      handle = await open(partPath(target), earlier.size > 0 ? 'r+' : 'w+');
      await handle.truncate(head.size);
      const journal =
        earlier.size > 0 ? await Journal.resume(journalPath(target)) : await Journal.create(journalPath(target), head);
      return new PartFile(target, head, earlier, handle, journal, unlock);
    } catch (error) {
      await handle?.close();
      await unlock();
      throw fileError(target, 'write', error);
    }
  }

  /** sha256 by block, of all that are there. */
  get blocks(): FinishedBlocks {
    return this.#blocks;
  }

  /** @throws I2lError FILE_WRITE_FAILED, DISK_FULL */
  async write(bytes: Uint8Array, position: number): Promise<void> {
    try {
      for (let done = 0; done < bytes.length;) {
        done += (await this.#handle.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
      }
    } catch (error) {
      throw fileError(this.target, 'write', error);
    }
  }

  /** Fills the buffer, but for what lies past the file's end. @throws I2lError FILE_UNREADABLE */
  async read(buffer: Uint8Array, position: number): Promise<number> {
    let done = 0;
    try {
      while (done < buffer.length) {
        const { bytesRead } = await this.#handle.read(buffer, done, buffer.length - done, position + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
    } catch (error) {
      throw fileError(partPath(this.target), 'read', error);
    }
    return done;
  }

  async finish(block: number, sha256: string): Promise<void> {
    this.#blocks.set(block, sha256);
    await this.#journal.finish(block, sha256);
  }

  forget(block: number): void {
    this.#blocks.delete(block);
  }

  /** Makes it durable and gives it its name. @throws I2lError FILE_WRITE_FAILED, DISK_FULL; the part stays then. */
  async publish(): Promise<void> {
    try {
      await this.#handle.sync();
      await this.#closeFiles();
      await rename(partPath(this.target), this.target);
      await syncFolder(dirname(this.target));
      await rm(journalPath(this.target), { force: true });
    } catch (error) {
      throw fileError(this.target, 'write', error);
    } finally {
      await this.#unlock();
    }
  }

  /** @param keep for a later run; nothing is kept where nothing was finished. */
  async close({ keep }: { readonly keep: boolean }): Promise<void> {
    await this.#closeFiles();
    if (!keep || this.#blocks.size === 0) await removePart(this.target);
    await this.#unlock();
  }

  async #closeFiles(): Promise<void> {
    await this.#journal.close().catch(() => undefined);
    await this.#handle.close().catch(() => undefined);
  }
}

export function partPath(target: string): string {
  return `${target}.part`;
}

export function journalPath(target: string): string {
  return `${target}.part.jsonl`;
}

/** What a stopped download left. */
export async function removePart(target: string): Promise<void> {
  await rm(partPath(target), { force: true });
  await rm(journalPath(target), { force: true });
}

/** Nothing of it can be used if the part itself is gone or was cut. */
async function usableBlocks(target: string, head: JournalHead): Promise<FinishedBlocks> {
  const { size } = await stat(partPath(target)).catch(() => ({ size: -1 }));
  const finished = size === head.size ? await readJournal(journalPath(target), head) : undefined;
  return finished ?? new Map();
}
