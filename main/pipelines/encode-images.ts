import { I2lError } from '../contract/errors.ts';
import type { HostTensor } from '../contract/tensor.ts';
import { decodeImage, type DecodedImage } from '../imaging/decode.ts';
import { coverCrop, dinoPixels, siglipPixels } from '../imaging/preprocess.ts';
import type { Chunk } from '../offload/executor.ts';
import { prepare, type NetworkRunner, type PipelineContext, type PreparedNetwork } from './context.ts';
import type { OpenEncoder } from './models.ts';

/** An image ready for the encoders: pixels by the encoder's name. */
export interface ReadyImage {
  readonly file: string;
  readonly sha256: string;
  readonly pixels: Readonly<Record<OpenEncoder['name'], HostTensor>>;
}

/**
 * Decodes and pre-processes images one by one, so that one decoded image is in memory at a time.
 * @throws I2lError IMAGES_REFUSED naming each refused file, unless `skipBad`; NO_IMAGES if none is left
 */
export async function readImages(
  context: PipelineContext,
  files: readonly string[],
  encoders: readonly OpenEncoder[],
  skipBad: boolean,
): Promise<ReadyImage[]> {
  const ready: ReadyImage[] = [];
  const refused: I2lError[] = [];
  for (const file of files) {
    if (context.signal.aborted) throw new I2lError('CANCELLED', 'The job was cancelled.');
    try {
      const image = await decodeImage(file);
      for (const note of image.notes) context.emit({ type: 'note', message: `${file}: ${note}.`, file });
      ready.push(preprocess(image, encoders));
    } catch (error) {
      const known = I2lError.from(error);
      refused.push(known);
      context.emit({ type: 'note', message: `Refused: ${known.message}`, file });
    }
  }
  if (refused.length > 0 && !skipBad) throw refusal(refused, files.length);
  if (ready.length === 0)
    throw new I2lError('NO_IMAGES', 'None of the images can be used.', { refused: refused.map(({ message }) => message) });
  return ready;
}

function refusal(refused: readonly I2lError[], total: number): I2lError {
  const [first] = refused;
  // The engine's own failure is not the image's: it keeps its code.
  if (refused.length === 1 && total === 1 && first) return first;
  return new I2lError(
    'IMAGES_REFUSED',
    `${refused.length} of ${total} images can't be used; mend them, or leave them out with --skip-bad.`,
    {
      refused: refused.map(({ message }) => message),
    },
  );
}

function preprocess({ file, sha256, pixels }: DecodedImage, encoders: readonly OpenEncoder[]): ReadyImage {
  const crop = coverCrop(pixels);
  const side = (name: OpenEncoder['name']): number => encoders.find((encoder) => encoder.name === name)?.imageSize ?? 0;
  return { file, sha256, pixels: { siglip2: siglipPixels(crop, side('siglip2')), dinov3: dinoPixels(crop, side('dinov3')) } };
}

export function prepareEncoder(encoder: OpenEncoder): PreparedNetwork {
  return prepare(encoder.name, encoder.stages, false);
}

/** Runs one encoder over all images. @returns [images, width], row by row */
export async function runEncoder(
  runner: NetworkRunner,
  prepared: PreparedNetwork,
  encoder: OpenEncoder,
  images: readonly ReadyImage[],
): Promise<Float32Array> {
  const embeddings = new Float32Array(images.length * encoder.width);
  await runner.run(prepared, {
    load: (chunk) => ({ pixels: stack(images, encoder.name, chunk) }),
    sink: (_name, { data }, { first }) => embeddings.set(data as Float32Array, first * encoder.width),
  });
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
