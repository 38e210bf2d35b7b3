import { closeSync, openSync, readSync } from 'node:fs';
import type { ByteRange } from '../contract/tensor.ts';

/** So few bytes are there before anybody waits for them. */
const WORTH_TRYING = 64 << 20;
/** Parts of the weights that are tried: a file may lie in the system's memory in part. */
const PARTS = 8;
/** Places of each part. The faster counts: what a busy system did during the other says nothing of the disk. */
const PLACES = [0.25, 0.75];
const TRIED_BYTES = 1 << 20;
/** Read before the clock starts, so that what it takes to find a place is no part of the speed. */
const FINDING_BYTES = 64 << 10;

/**
 * Tries at a few places how fast weights come: from a disk, or from the system's memory where an earlier job or another
 * program has read them. It takes some milliseconds, and a tenth of a second with a hard disk.
 * @param tryAt reads at a place; tests put something else there
 * @returns bytes a second; undefined where nobody will wait for so few, or they can't be read (who needs them says so)
 */
export function readSpeedOf(ranges: readonly ByteRange[], tryAt = tryPlace): number | undefined {
  const total = ranges.reduce((sum, { length }) => sum + length, 0);
  if (total < WORTH_TRYING) return undefined;
  const partsAt = (place: number): Place[] =>
    Array.from({ length: PARTS }, (_, i) => placeAt(ranges, ((i + place) / PARTS) * total));
  try {
    // All parts once, then all again: what holds up one try is likely over by the next.
    const passes = PLACES.map((place) => partsAt(place).map(tryAt));
    const tried = Array.from({ length: PARTS }, (_, i) => fasterOf(passes.flatMap((pass) => pass[i] ?? [])));
    const bytes = tried.reduce((sum, one) => sum + one.bytes, 0);
    const seconds = tried.reduce((sum, one) => sum + one.seconds, 0);
    return bytes > 0 && seconds > 0 ? bytes / seconds : undefined;
  } catch {
    // Gone, or a copy that is yet to be made.
    return undefined;
  }
}

export interface Place {
  readonly file: string;
  readonly offset: number;
}

/** Where byte `at` of all of them lies. */
function placeAt(ranges: readonly ByteRange[], at: number): Place {
  let before = 0;
  const range = ranges.find(({ length }) => (before += length) > at) as ByteRange;
  return { file: range.file, offset: Math.floor(range.offset + range.length - (before - at)) };
}

const scratch = Buffer.allocUnsafe(TRIED_BYTES);

interface Try {
  readonly bytes: number;
  readonly seconds: number;
}

function fasterOf(tries: readonly Try[]): Try {
  return tries.reduce((a, b) => (b.bytes * a.seconds > a.bytes * b.seconds ? b : a));
}

function tryPlace({ file, offset }: Place): Try {
  const fd = openSync(file, 'r');
  try {
    const found = readSync(fd, scratch, 0, FINDING_BYTES, offset);
    const started = performance.now();
    const bytes = readSync(fd, scratch, 0, TRIED_BYTES, offset + found);
    return { bytes, seconds: (performance.now() - started) / 1000 };
  } finally {
    closeSync(fd);
  }
}
