import { I2lError } from '../contract/errors.ts';
import type { HostTensor } from '../contract/tensor.ts';
import { decodeImage, type DecodedImage } from '../imaging/decode.ts';
import { coverCrop, dinoPixels, siglipPixels } from '../imaging/preprocess.ts';
import type { Chunk } from '../offload/executor.ts';
import { imagesThatFit, prepare, type NetworkRunner, type PipelineContext, type PreparedNetwork, type Work } from './context.ts';
import type { EmbeddingStore } from './embedding-store.ts';
import type { ImageSets, SetImage } from './image-sets.ts';
import type { OpenEncoder } from './models.ts';

/** An image ready for the encoders: pixels by the encoder's name. */
interface ReadyImage extends SetImage {
  readonly pixels: Readonly<Record<OpenEncoder['name'], HostTensor>>;
}

/** Images that go through the encoders together, as many as the memory allows: each pass reads all weights. */
export interface EncodePass {
  readonly images: readonly SetImage[];
  readonly networks: readonly PreparedNetwork[];
}

export function prepareEncoder(encoder: OpenEncoder): PreparedNetwork {
  return prepare(encoder.name, encoder.stages, false);
}

/** Passes over all images that have no embedding yet. */
export function planPasses(encoders: readonly OpenEncoder[], images: readonly SetImage[], memory: number): EncodePass[] {
  if (images.length === 0) return [];
  const prepared = encoders.map(prepareEncoder);
  const perPass = imagesThatFit(prepared, images.length, memory);
  return Array.from({ length: Math.ceil(images.length / perPass) }, (_, i) => ({
    images: images.slice(i * perPass, (i + 1) * perPass),
    networks: prepared.map((network) => ({ ...network })),
  }));
}

export function worksOf({ images, networks }: EncodePass): Work[] {
  return networks.map((network) => ({ network, images: images.length }));
}

/** Runs the encoders over the images of one pass and keeps the embeddings. Refused images leave their sets. */
export async function runPass(
  context: PipelineContext,
  runner: NetworkRunner,
  { images, networks }: EncodePass,
  { encoders, sets, store }: { encoders: readonly OpenEncoder[]; sets: ImageSets; store: EmbeddingStore },
): Promise<void> {
  const read = await readImages(context, images, encoders, sets);
  sets.settle();
  const wanted = new Set(sets.distinctImages().map(({ sha256 }) => sha256));
  const ready = read.filter(({ sha256 }) => wanted.has(sha256));
  for (const [i, encoder] of encoders.entries()) {
    const rows = await runEncoder(runner, networks[i] as PreparedNetwork, encoder, ready);
    ready.forEach(({ sha256 }, row) => store.add(encoder, sha256, rows.subarray(row * encoder.width, (row + 1) * encoder.width)));
  }
}

/** Decodes and pre-processes images one by one, so that one decoded image is in memory at a time. */
async function readImages(
  context: PipelineContext,
  images: readonly SetImage[],
  encoders: readonly OpenEncoder[],
  sets: ImageSets,
): Promise<ReadyImage[]> {
  const ready: ReadyImage[] = [];
  for (const image of images) {
    if (context.signal.aborted) throw new I2lError('CANCELLED', 'The job was cancelled.');
    try {
      const decoded = await decodeImage(image.file);
      if (decoded.sha256 !== image.sha256) throw changed(image.file);
      for (const note of decoded.notes) context.emit({ type: 'note', message: `${image.file}: ${note}.`, file: image.file });
      ready.push({ ...image, pixels: preprocess(decoded, encoders) });
    } catch (error) {
      refuse(sets, image, I2lError.from(error));
    }
  }
  return ready;
}

/** Another file of the same content has the same fault. */
function refuse(sets: ImageSets, image: SetImage, error: I2lError): void {
  const { code, message, fields } = error;
  sets.refuse(image, (file) => {
    if (file === image.file) return error;
    return new I2lError(code, message.replaceAll(image.file, file), { ...fields, file }, error.cause);
  });
}

function changed(file: string): I2lError {
  return new I2lError('IMAGE_INVALID', `${file}: it was changed while it was read; try again.`, { file });
}

function preprocess({ pixels }: DecodedImage, encoders: readonly OpenEncoder[]): ReadyImage['pixels'] {
  const crop = coverCrop(pixels);
  const side = (name: OpenEncoder['name']): number => encoders.find((encoder) => encoder.name === name)?.imageSize ?? 0;
  return { siglip2: siglipPixels(crop, side('siglip2')), dinov3: dinoPixels(crop, side('dinov3')) };
}

/** Runs one encoder over all images. @returns [images, width], row by row */
async function runEncoder(
  runner: NetworkRunner,
  prepared: PreparedNetwork,
  encoder: OpenEncoder,
  images: readonly ReadyImage[],
): Promise<Float32Array> {
  const embeddings = new Float32Array(images.length * encoder.width);
  const load = (chunk: Chunk): Record<string, HostTensor> => ({ pixels: stack(images, encoder.name, chunk) });
  const sink = (_name: string, { data }: HostTensor, { first }: Chunk): void =>
    embeddings.set(data as Float32Array, first * encoder.width);
  await runner.run(prepared, { load, sink }, images.length);
  if (!embeddings.every((value) => Number.isFinite(value))) {
    const message = `${encoder.path}: its output is not a finite number; the file may be damaged.`;
    throw new I2lError('NOT_FINITE', message, { file: encoder.path });
  }
  return embeddings;
}

function stack(images: readonly ReadyImage[], name: OpenEncoder['name'], { first, count }: Chunk): HostTensor {
  const parts = images.slice(first, first + count).map((image) => image.pixels[name]);
  const [, ...rest] = parts[0]?.dims ?? [];
  const size = rest.reduce((product, side) => product * side, 1);
  const data = new Float32Array(count * size);
  parts.forEach((part, i) => data.set(part.data as Float32Array, i * size));
  return { data, dims: [count, ...rest] };
}
