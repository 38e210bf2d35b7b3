import { I2lError } from '../contract/errors.ts';
import type { HostTensor } from '../contract/tensor.ts';
import { readCrops, type Crops } from '../imaging/read-crops.ts';
import type { Chunk } from '../offload/group.ts';
import type { NetworkRunner, PipelineContext } from './context.ts';
import { makeCopies } from './eight-bit-copies.ts';
import type { EmbeddingStore } from './embedding-store.ts';
import type { ImageSets, SetImage } from './image-sets.ts';
import type { EncoderOutput, OpenEncoder } from './open-encoders.ts';
import type { EncodePass, EncoderWork, EncodingPlan } from './plan-encoding.ts';

/** An image ready for the encoders' own processors. */
interface ReadyImage extends SetImage {
  readonly crops: Crops;
}

/** What images become. */
interface Results {
  readonly sets: ImageSets;
  readonly store: EmbeddingStore;
}

/**
 * Runs a plan: the encoders' copies are made once the first images are read, then each pass keeps its embeddings.
 * Refused images leave their sets.
 */
export async function encodeImages(
  context: PipelineContext,
  runner: NetworkRunner,
  { passes, making }: EncodingPlan,
  results: Results,
): Promise<void> {
  for (const [i, pass] of passes.entries()) {
    const images = await readImages(context, pass, results.sets);
    results.sets.settle();
    if (i === 0) await makeCopies(context, runner, making);
    await runPass(runner, pass, images, results);
  }
  results.store.trim();
}

async function runPass(
  runner: NetworkRunner,
  { works }: EncodePass,
  images: readonly ReadyImage[],
  { sets, store }: Results,
): Promise<void> {
  const wanted = new Set(sets.distinctImages().map(({ sha256 }) => sha256));
  for (const work of works) {
    const { encoder, images: own } = work;
    const hashes = new Set(own.map(({ sha256 }) => sha256).filter((sha256) => wanted.has(sha256)));
    const ready = images.filter(({ sha256 }) => hashes.has(sha256));
    const outputs = await runEncoder(runner, work, ready);
    for (const { output, rows } of outputs) ready.forEach(({ sha256 }, i) => store.add(encoder, output, sha256, rows[i] as Float32Array)); // prettier-ignore
  }
}

/** Decodes and crops images one by one, so that one decoded image is in memory at a time. */
async function readImages(context: PipelineContext, pass: EncodePass, sets: ImageSets): Promise<ReadyImage[]> {
  const { images, works } = pass;
  // What is kept is in memory as well: it leaves as much as the least that was planned for.
  const decodeBytes = pass.decodeBytes - (context.keeper?.bytes ?? 0);
  const sides = [...new Set(works.flatMap(({ encoder }) => encoder.crops))];
  const ready: ReadyImage[] = [];
  for (const image of images) {
    if (context.signal.aborted) throw new I2lError('CANCELLED', 'The job was cancelled.');
    const { file } = image;
    try {
      const { sha256, crops, notes } = await readCrops(file, sides, decodeBytes);
      if (sha256 !== image.sha256) throw changed(file);
      for (const note of notes) context.emit({ type: 'note', ...note });
      ready.push({ ...image, crops });
    } catch (error) {
      sets.refuse(image, I2lError.from(error));
    }
  }
  return ready;
}

function changed(file: string): I2lError {
  return new I2lError('IMAGE_INVALID', `${file}: it was changed while it was read; try again.`, {
    file,
    reason: 'changed-meanwhile',
  });
}

interface EncoderResult {
  readonly output: EncoderOutput;
  /** Of each image. */
  readonly rows: readonly Float32Array[];
}

/** Runs one encoder over all images. @throws I2lError NOT_FINITE */
async function runEncoder(runner: NetworkRunner, work: EncoderWork, images: readonly ReadyImage[]): Promise<EncoderResult[]> {
  const { encoder, network, remake } = work;
  const results = encoder.outputs.map((output) => ({ output, rows: images.map(() => new Float32Array(output.width)) }));
  const load = (chunk: Chunk): Record<string, HostTensor> => ({ [encoder.state]: stack(images, encoder, chunk) });
  const sink = (name: string, { data }: HostTensor, { first, count }: Chunk): void => {
    const result = results.find(({ output }) => output.emitted === name);
    if (!result) throw new I2lError('INTERNAL', `${name} is nothing that ${encoder.name} makes.`);
    const { width } = result.output;
    for (let i = 0; i < count; i++) result.rows[first + i]?.set((data as Float32Array).subarray(i * width, (i + 1) * width));
  };
  await runner.run(network, { load, sink }, images.length, remake?.());
  if (!results.every(({ rows }) => rows.every(isFinite))) throw notFinite(work);
  return results;
}

/** An old copy may be damaged: the next job makes it anew. Of one that this job has made, the weights themselves are. */
function notFinite({ encoder, copy, remake }: EncoderWork): I2lError {
  copy?.remove();
  const suspect = remake ? undefined : copy;
  const file = suspect?.path ?? encoder.path;
  const what = suspect ? 'this 8-bit copy may be damaged and is removed; run the job again' : 'the file may be damaged';
  return new I2lError('NOT_FINITE', `${file}: its output is not a finite number; ${what}.`, { file });
}

function isFinite(values: Float32Array): boolean {
  return values.every((value) => Number.isFinite(value));
}

function stack(images: readonly ReadyImage[], encoder: OpenEncoder, { first, count }: Chunk): HostTensor {
  let [data, rest]: [Float32Array | undefined, readonly number[]] = [undefined, []];
  images.slice(first, first + count).forEach(({ crops }, i) => {
    const { data: own, dims } = encoder.prepare(crops);
    data ??= new Float32Array(count * own.length);
    data.set(own as Float32Array, i * own.length);
    rest = dims.slice(1);
  });
  return { data: data ?? new Float32Array(), dims: [count, ...rest] };
}
