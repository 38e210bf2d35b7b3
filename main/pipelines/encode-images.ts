import { I2lError } from '../contract/errors.ts';
import type { HostTensor } from '../contract/tensor.ts';
import { decodeImage } from '../imaging/decode.ts';
import { coverCrop, CROP_SIDE, LOW_CROP_SIDE } from '../imaging/preprocess.ts';
import type { Chunk } from '../offload/group.ts';
import type { EightBitWeights } from '../onnx/eight-bit.ts';
import {
  imagesThatFit,
  prepare,
  type Budgets,
  type NetworkRunner,
  type PipelineContext,
  type PreparedNetwork,
  type Work,
} from './context.ts';
import type { EightBitCopy } from './eight-bit-copy.ts';
import type { EightBitCopies } from './eight-bit-copies.ts';
import type { EmbeddingStore } from './embedding-store.ts';
import type { ImageSets, SetImage } from './image-sets.ts';
import type { Crops, EncoderOutput, OpenEncoder } from './open-encoders.ts';

/** An image ready for the encoders' own processors. */
interface ReadyImage extends SetImage {
  readonly crops: Crops;
}

/** What one encoder does in a pass. */
interface EncoderWork {
  readonly encoder: OpenEncoder;
  readonly network: PreparedNetwork;
  /** The network as it is by now: its 8-bit copy may have been made since it was planned. */
  readonly current: () => PreparedNetwork;
  readonly copy: EightBitCopy | undefined;
  readonly images: readonly SetImage[];
}

/** Images that go through the encoders together, as many as the memory allows: each pass reads all weights. */
export interface EncodePass {
  readonly images: readonly SetImage[];
  readonly works: readonly EncoderWork[];
}

/** Bytes of all that the encoders make of so many images. */
export function embeddingBytes(encoders: readonly OpenEncoder[], images: number): number {
  return encoders.reduce((sum, { outputs }) => outputs.reduce((bytes, { width }) => bytes + 4 * width * images, sum), 0);
}

/** @param held bytes of the job's embeddings; @param eightBit copies of weights that its products take */
export function prepareEncoder(encoder: OpenEncoder, held: number, eightBit?: EightBitWeights): PreparedNetwork {
  return prepare(encoder.name, encoder.stages, { held: { fixed: held + READING_BYTES, perImage: CROPS_BYTES }, eightBit });
}

/** What is left of reading images: sharp, and memory that it keeps (measured: 15 to 25 MB). */
const READING_BYTES = 24 << 20;

/** Of an image's crops. */
const CROPS_BYTES = 3 * (CROP_SIDE ** 2 + LOW_CROP_SIDE ** 2);

/** What passes are planned for. */
export interface PassOptions {
  readonly budgets: Budgets;
  /** Bytes of the job's embeddings. */
  readonly held: number;
  /** Those that encoders use, made or yet to be made. */
  readonly copies: EightBitCopies;
}

/** Passes over all images that an encoder has yet to see. */
export function planPasses(
  missing: ReadonlyMap<OpenEncoder, readonly SetImage[]>,
  { budgets, held, copies }: PassOptions,
): EncodePass[] {
  const images = [...new Map([...missing.values()].flat().map((image) => [image.sha256, image])).values()];
  if (images.length === 0) return [];
  const prepared = [...missing]
    .filter(([, own]) => own.length > 0)
    .map(([encoder, own]) => {
      const copy = copies.get(encoder);
      const now = (): PreparedNetwork => prepareEncoder(encoder, held, copy?.weights);
      return { encoder, copy, own: new Set(own), network: now(), remade: copy && !copy.isMade ? now : undefined };
    });
  const perPass = imagesThatFit(prepared.map(({ network }) => network), images.length, budgets); // prettier-ignore
  return Array.from({ length: Math.ceil(images.length / perPass) }, (_, i) => {
    const some = images.slice(i * perPass, (i + 1) * perPass);
    const works = prepared.map(({ encoder, copy, own, network, remade }): EncoderWork => {
      const planned = { ...network };
      return {
        encoder,
        network: planned,
        current: remade ?? (() => planned),
        copy,
        images: some.filter((image) => own.has(image)),
      };
    });
    return { images: some, works: works.filter((work) => work.images.length > 0) };
  });
}

export function worksOf({ works }: EncodePass): Work[] {
  return works.map(({ network, images }) => ({ network, images: images.length }));
}

/** Runs the encoders over the images of one pass and keeps the embeddings. Refused images leave their sets. */
export async function runPass(
  context: PipelineContext,
  runner: NetworkRunner,
  { images, works }: EncodePass,
  { sets, store }: { sets: ImageSets; store: EmbeddingStore },
): Promise<void> {
  const sides = [...new Set(works.flatMap(({ encoder }) => encoder.crops))];
  const read = await readImages(context, images, sides, sets);
  sets.settle();
  const wanted = new Set(sets.distinctImages().map(({ sha256 }) => sha256));
  for (const work of works) {
    const { encoder, images: own } = work;
    const hashes = new Set(own.map(({ sha256 }) => sha256).filter((sha256) => wanted.has(sha256)));
    const ready = read.filter(({ sha256 }) => hashes.has(sha256));
    const results = await runEncoder(runner, work, ready);
    for (const { output, rows } of results) ready.forEach(({ sha256 }, i) => store.add(encoder, output, sha256, rows[i] as Float32Array)); // prettier-ignore
  }
}

/** Decodes and crops images one by one, so that one decoded image is in memory at a time. */
async function readImages(
  context: PipelineContext,
  images: readonly SetImage[],
  sides: readonly number[],
  sets: ImageSets,
): Promise<ReadyImage[]> {
  const ready: ReadyImage[] = [];
  for (const image of images) {
    if (context.signal.aborted) throw new I2lError('CANCELLED', 'The job was cancelled.');
    try {
      const decoded = await decodeImage(image.file);
      if (decoded.sha256 !== image.sha256) throw changed(image.file);
      for (const note of decoded.notes) context.emit({ type: 'note', message: `${image.file}: ${note}.`, file: image.file });
      ready.push({ ...image, crops: new Map(sides.map((side) => [side, coverCrop(decoded.pixels, side)])) });
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
async function runEncoder(
  runner: NetworkRunner,
  { encoder, network, current, copy }: EncoderWork,
  images: readonly ReadyImage[],
): Promise<EncoderResult[]> {
  const results = encoder.outputs.map((output) => ({ output, rows: images.map(() => new Float32Array(output.width)) }));
  const load = (chunk: Chunk): Record<string, HostTensor> => ({ [encoder.state]: stack(images, encoder, chunk) });
  const sink = (name: string, { data }: HostTensor, { first, count }: Chunk): void => {
    const result = results.find(({ output }) => output.emitted === name);
    if (!result) throw new I2lError('INTERNAL', `${name} is nothing that ${encoder.name} makes.`);
    const { width } = result.output;
    for (let i = 0; i < count; i++) result.rows[first + i]?.set((data as Float32Array).subarray(i * width, (i + 1) * width));
  };
  await runner.run(network, { load, sink }, images.length, current());
  if (!results.every(({ rows }) => rows.every(isFinite))) {
    throw notFinite(encoder, copy);
  }
  return results;
}

/** A copy that gave it is removed: the next job makes it anew, and tells whether the weights themselves are damaged. */
function notFinite(encoder: OpenEncoder, copy: EightBitCopy | undefined): I2lError {
  copy?.remove();
  const file = copy?.path ?? encoder.path;
  const what = copy ? 'this 8-bit copy may be damaged and is removed; run the job again' : 'the file may be damaged';
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
