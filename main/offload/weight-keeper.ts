import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import type { ByteRange } from '../contract/tensor.ts';
import { placeOf } from '../onnx/external-data.ts';
import type { PlacedRead } from './placed-reads.ts';

/** Weights of a group as they were read, alone in their buffer. */
interface Kept {
  readonly buffer: SharedArrayBuffer;
  readonly reads: readonly PlacedRead[];
  /** The last job that used them. */
  job: number;
}

/** This process holds more than a job leaves room for: a fresh one has to take the job. */
export class KeeperOverfull extends Error {
  constructor() {
    super('The weights that were kept leave this job too little memory.');
  }
}

/**
 * Weights that outlive the job that read them, so that the next one needs neither the disk nor the system's cache for
 * them. What is held never passes the room that a job leaves. Each job goes through all of its groups in turn, so what was
 * used lately is not given up for other weights: with room for half of them, the same half is found each time.
 */
export class WeightKeeper {
  readonly #kept = new Map<string, Kept>();
  #room = 0;
  #jobs = 0;
  #bytes = 0;

  /** Bytes of all that is held. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Groups of which weights are held. */
  get size(): number {
    return this.#kept.size;
  }

  /** Jobs that have begun. */
  get jobs(): number {
    return this.#jobs;
  }

  /**
   * A job begins.
   * @param room bytes that its plan leaves
   * @throws KeeperOverfull it gives up nothing: a fresh process alone is sure to have its memory back
   */
  begin(room: number): void {
    if (this.#bytes > room) throw new KeeperOverfull();
    this.#room = room;
    this.#jobs++;
  }

  /** @param key see {@link weightsKey} */
  find(key: string): SharedArrayBuffer | undefined {
    const kept = this.#kept.get(key);
    if (kept) kept.job = this.#jobs;
    return kept?.buffer;
  }

  /** Whether a weight is likely to be found; its file may be another one by now. */
  holds({ file, offset }: Pick<ByteRange, 'file' | 'offset'>): boolean {
    const has = (read: PlacedRead): boolean => read.file === file && read.offset <= offset && offset < read.offset + read.length;
    return [...this.#kept.values()].some(({ reads }) => reads.some(has));
  }

  /** @returns a buffer for weights that are to be kept, where there is room for one, or what is out of use makes some */
  bufferFor(bytes: number): SharedArrayBuffer | undefined {
    this.#makeRoom(bytes);
    return this.#bytes + bytes <= this.#room ? new SharedArrayBuffer(bytes) : undefined;
  }

  /** @param buffer as {@link bufferFor} gave it last, filled by these reads; @param key taken before they began */
  keep(key: string, buffer: SharedArrayBuffer, reads: readonly PlacedRead[]): void {
    this.#kept.set(key, { buffer, reads, job: this.#jobs });
    this.#bytes += buffer.byteLength;
  }

  #makeRoom(bytes: number): void {
    const before = this.size;
    for (const [key, { buffer }] of this.#outOfUse()) {
      if (this.#bytes + bytes <= this.#room) break;
      this.#kept.delete(key);
      this.#bytes -= buffer.byteLength;
    }
    // Shared memory goes with the garbage; the threads that had it, too, have ended with their jobs.
    if (this.size < before) globalThis.gc?.();
  }

  /** What neither this job nor the one before it has used, the oldest first. */
  #outOfUse(): [string, Kept][] {
    return [...this.#kept].filter(([, { job }]) => job < this.#jobs - 1).sort(([, a], [, b]) => a.job - b.job);
  }
}

/**
 * Tells weights apart by their files and their places there. A file that was changed meanwhile, or another one in its
 * place, has other times.
 */
export function weightsKey(reads: readonly PlacedRead[]): string {
  const hash = createHash('sha256');
  for (const file of new Set(reads.map((read) => read.file))) {
    // One that has gone is an error of the read, which names it.
    const { size, mtimeNs, ctimeNs, ino } = statSync(file, { bigint: true, throwIfNoEntry: false }) ?? {};
    hash.update(`${file}\0${size} ${mtimeNs} ${ctimeNs} ${ino}\0`);
  }
  for (const read of reads) hash.update(`${placeOf(read)}\0`);
  return hash.digest('hex');
}
