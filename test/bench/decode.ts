import { closeSync, openSync, readFileSync, readSync, statSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { mulberry32 } from '../../main/weights/synthetic.ts';
import { float32Bytes } from '../../main/weights/values.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';
import { judge, measured, megabytes, type Measured } from './measure.ts';

/** Style alone, from an embeddings file to a LoRA: against a plain read of its weights, and against the reference. */
export interface DecodeOptions {
  readonly imageCounts: readonly number[];
  /** The best of so many is taken. */
  readonly repeats: number;
  /** Also with the system's file cache emptied, which slows all that runs on the machine. */
  readonly cold: boolean;
  /** What reference_decode.py wrote, in the same sitting. */
  readonly reference: string | undefined;
}

const EMBEDDING_WIDTH = 1536 + 4096;

/** The design's bars; of the reference by images. */
const BARS = { bytesRead: 1.02, warm: 4, cold: 1.5, peakBytes: 0.4e9 } as const;
const REFERENCE_BARS: ReadonlyMap<number, number> = new Map([[1, 0.7], [5, 0.35], [60, 0.1]]); // prettier-ignore

/** Seconds by images and by the reference's mode. */
const referenceSchema = z.record(
  z.string(),
  z.record(z.string(), z.object({ 'with saving': z.number(), 'cpu seconds': z.number() })),
);
type Reference = z.infer<typeof referenceSchema>;

export async function benchDecode(folder: string, expert: string, options: DecodeOptions): Promise<void> {
  const { imageCounts, repeats, cold } = options;
  const reference = options.reference && referenceSchema.parse(JSON.parse(readFileSync(options.reference, 'utf8')));
  for (const images of imageCounts) {
    const command = ['decode', randomEmbeddings(folder, images), '--expert', expert, '-o', join(folder, 'out.safetensors')];
    const warm = await best(command, expert, repeats, () => readThrough(expert));
    report(`${images} image${images === 1 ? '' : 's'}, warm`, warm, BARS.warm);
    const { result, peak } = warm.run;
    judge('  weight bytes / bytes of the checkpoint', result.weightBytes / statSync(expert).size, BARS.bytesRead, 'at most');
    judge(`  peak memory of all processes, ${megabytes(peak)} / ${megabytes(BARS.peakBytes)}`, peak / BARS.peakBytes, 1, 'at most');
    if (reference) compare(images, warm.run, reference);
    else console.log('  the reference: not compared, see reference_decode.py');
    if (!cold) continue;
    if (dropCaches()) report(`${images}, cold`, await best(command, expert, 1, dropCaches), BARS.cold);
    else console.log('  cold: not run (the system lets only root empty its file cache)');
  }
}

interface Best {
  readonly run: Measured;
  /** Seconds of a plain read of the weights, in the same state of the cache. */
  readonly read: number;
}

async function best(command: readonly string[], expert: string, repeats: number, ready: () => unknown): Promise<Best> {
  const runs: Best[] = [];
  for (let i = 0; i < repeats; i++) {
    ready();
    const read = readThrough(expert);
    ready();
    runs.push({ run: await measured(command), read });
  }
  return runs.reduce((a, b) => (b.run.result.seconds < a.run.result.seconds ? b : a));
}

function report(what: string, { run: { result, wall, cpuSeconds }, read }: Best, bar: number): void {
  const load = loadavg()[0]?.toFixed(1);
  console.log(
    `decode Style, ${what}: ${wall.toFixed(2)} s with the process's start, ${result.seconds.toFixed(2)} s in the engine, ${cpuSeconds.toFixed(1)} s of CPU; plain read of the file ${read.toFixed(2)} s; load ${load}`,
  );
  judge('  time / plain read', wall / read, bar, 'at most');
}

/** Against its fastest mode. */
function compare(images: number, { result, cpuSeconds }: Measured, reference: Reference): void {
  const modes = Object.entries(reference[String(images)] ?? {});
  const [fastest] = modes.sort(([, a], [, b]) => a['with saving'] - b['with saving']);
  if (!fastest) return console.log(`  the reference: ${images} images were not measured`);
  const [mode, theirs] = fastest;
  console.log(`  the reference, ${mode}: ${theirs['with saving'].toFixed(2)} s, ${theirs['cpu seconds'].toFixed(1)} s of CPU; CPU time / its: ${(cpuSeconds / theirs['cpu seconds']).toFixed(3)}`); // prettier-ignore
  const bar = REFERENCE_BARS.get(images);
  const ratio = result.seconds / theirs['with saving'];
  if (bar === undefined) console.log(`  time / the reference's: ${ratio.toFixed(3)} (no bar for so many images)`);
  else judge("  time / the reference's", ratio, bar, 'at most');
}

function randomEmbeddings(folder: string, images: number): string {
  const path = join(folder, `embeddings-${images}.safetensors`);
  const next = mulberry32(images);
  const row = (name: string, width: number) => ({
    name,
    dtype: 'F32' as const,
    shape: [width],
    bytes: float32Bytes(Float32Array.from({ length: width }, () => 2 * next() - 1)),
  });
  const rows = Array.from({ length: images }, (_, i) => [
    row(`image.${i}.siglip2`, 1536),
    row(`image.${i}.dinov3`, EMBEDDING_WIDTH - 1536),
  ]);
  writeSafetensors(path, rows.flat());
  return path;
}

/** Seconds to read a file from start to end, as fast as one thread can. */
function readThrough(path: string): number {
  const started = performance.now();
  const buffer = Buffer.allocUnsafe(8 << 20);
  const fd = openSync(path, 'r');
  const size = statSync(path).size;
  for (let at = 0; at < size;) at += readSync(fd, buffer, 0, buffer.length, at);
  closeSync(fd);
  return (performance.now() - started) / 1000;
}

/** @returns whether the system let us */
export function dropCaches(): boolean {
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '3');
    return true;
  } catch {
    return false;
  }
}
