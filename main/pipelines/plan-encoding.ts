import type { Device } from '../contract/devices.ts';
import { I2lError } from '../contract/errors.ts';
import { leastDecodeBytes } from '../imaging/decode-memory.ts';
import { readHeader } from '../imaging/decode.ts';
import { CROP_SIDE, LOW_CROP_SIDE } from '../imaging/preprocess.ts';
import type { Decoding } from '../offload/planner.ts';
import type { Amount } from '../onnx/cost.ts';
import type { EightBitWeights } from '../onnx/eight-bit.ts';
import { runsOf } from '../onnx/runs.ts';
import { baselineOf } from './baseline.ts';
import { imagesThatFit, prepare, type Budgets, type PreparedNetwork, type Work } from './context.ts';
import { copiesToMake, workOfCopy, type CopyToMake, type EightBitCopies } from './eight-bit-copies.ts';
import type { EightBitCopy } from './eight-bit-copy.ts';
import type { EmbeddingStore } from './embedding-store.ts';
import type { ImageSets, SetImage } from './image-sets.ts';
import type { OpenEncoder } from './open-encoders.ts';

/** Plans how a job's images go through its encoders, from headers alone. */

/** What one encoder does in a pass. */
export interface EncoderWork {
  readonly encoder: OpenEncoder;
  readonly network: PreparedNetwork;
  /** The network as it is once its 8-bit copy has been made; absent where that is there, or none is used. */
  readonly remake: (() => PreparedNetwork) | undefined;
  readonly copy: EightBitCopy | undefined;
  readonly images: readonly SetImage[];
}

/** Images that go through the encoders together, as many as the memory allows: each pass reads all weights. */
export interface EncodePass {
  readonly images: readonly SetImage[];
  readonly works: readonly EncoderWork[];
  /** Bytes that decoding an image may take. */
  readonly decodeBytes: number;
}

export interface EncodingPlan {
  readonly passes: readonly EncodePass[];
  /** With the first pass's images in memory: they are read before, so that one that is bad is known by then. */
  readonly making: readonly CopyToMake[];
  /** Bytes of the job's embeddings. */
  readonly held: number;
}

/** Bytes of all that the encoders make of so many images. */
export function embeddingBytes(encoders: readonly OpenEncoder[], images: number): number {
  return encoders.reduce((sum, { outputs }) => outputs.reduce((bytes, { width }) => bytes + 4 * width * images, sum), 0);
}

interface EncodeOptions {
  /** Copies of weights that its products take. */
  readonly eightBit?: EightBitWeights | undefined;
  readonly decoding?: Decoding | undefined;
  readonly device?: Device | undefined;
}

/** @param held bytes of the job's embeddings */
export function prepareEncoder(
  encoder: OpenEncoder,
  held: number,
  { eightBit, decoding, device = 'cpu' }: EncodeOptions = {},
): PreparedNetwork {
  return prepare(encoder.name, encoder.stages, { held: heldBeside(held), eightBit, decoding, device });
}

/** What is left of reading images: sharp, and memory that it keeps (measured: 15 to 25 MB). */
const READING_BYTES = 24 << 20;

/** Of an image's crops. */
const CROPS_BYTES = 3 * (CROP_SIDE ** 2 + LOW_CROP_SIDE ** 2);

function heldBeside(embeddings: number): Amount {
  return { fixed: embeddings + READING_BYTES, perImage: CROPS_BYTES };
}

export interface EncodingOptions {
  readonly encoders: readonly OpenEncoder[];
  readonly store: EmbeddingStore;
  /** Those that encoders use, made or yet to be made. */
  readonly copies: EightBitCopies;
  readonly budgets: Budgets;
  readonly device: Device;
}

/** Passes over all images that an encoder has yet to see. Those whose headers are refused leave their sets. */
export async function planEncoding(sets: ImageSets, options: EncodingOptions): Promise<EncodingPlan> {
  const { encoders, store } = options;
  const unknown = store.load(encoders, sets.distinctImages());
  const decoding = await readHeaders(distinct([...unknown.values()].flat()), sets);
  const good = new Set(sets.distinctImages().map(({ sha256 }) => sha256));
  const missing = [...unknown].map(([encoder, images]) => ({ encoder, images: images.filter(({ sha256 }) => good.has(sha256)) }));
  const held = embeddingBytes(encoders, good.size);
  return { held, ...planPasses(missing.filter(({ images }) => images.length > 0), { ...options, held, decoding }) }; // prettier-ignore
}

/** Opens the headers of images. @returns the one that takes most to decode, of those that are not refused */
async function readHeaders(images: readonly SetImage[], sets: ImageSets): Promise<Decoding | undefined> {
  let most: Decoding | undefined;
  for (const image of images) {
    const { file } = image;
    try {
      const header = await readHeader(file);
      const bytes = leastDecodeBytes(header);
      const { width, height } = header.metadata;
      if (bytes > (most?.bytes ?? 0)) most = { file, width, height, bytes };
    } catch (error) {
      sets.refuse(image, I2lError.from(error));
    }
  }
  return most;
}

function distinct(images: readonly SetImage[]): SetImage[] {
  return [...new Map(images.map((image) => [image.sha256, image])).values()];
}

interface MissingImages {
  readonly encoder: OpenEncoder;
  readonly images: readonly SetImage[];
}

interface PassOptions extends EncodingOptions {
  readonly held: number;
  readonly decoding: Decoding | undefined;
}

function planPasses(missing: readonly MissingImages[], options: PassOptions): Omit<EncodingPlan, 'held'> {
  const { held, copies, budgets, device } = options;
  const images = distinct(missing.flatMap(({ images: own }) => own));
  if (images.length === 0) return { passes: [], making: [] };
  const works = missing.map((own) => prepareWork(own, options));
  const making = copiesToMake(copies, missing.map(({ encoder }) => encoder)); // prettier-ignore
  const worksOver = (count: number): Work[] => [
    ...making.map((made) => workOfCopy(withCrops(made, held, count))),
    ...works.map(({ network }) => ({ network, images: count })),
  ];
  const perPass = imagesThatFit(worksOver, images.length, budgets);
  const decodeBytes = budgets.memory - baselineOf(heldBeside(held), perPass, device);
  const passes = runsOf(images.length, perPass).map(({ first, count }) =>
    passOver(images.slice(first, first + count), works, decodeBytes),
  );
  return { passes, making: making.map((made) => withCrops(made, held, perPass)) };
}

function prepareWork({ encoder, images }: MissingImages, { copies, held, decoding, device }: PassOptions): EncoderWork {
  const copy = copies.get(encoder);
  const now = (): PreparedNetwork => prepareEncoder(encoder, held, { eightBit: copy?.weights, decoding, device });
  return { encoder, network: now(), remake: copy && !copy.isMade ? now : undefined, copy, images };
}

/** A copy is made while the crops of so many images are in memory. */
function withCrops({ copy, network }: CopyToMake, embeddings: number, images: number): CopyToMake {
  const { fixed, perImage } = heldBeside(embeddings);
  return { copy, network: { ...network, held: { fixed: fixed + perImage * images, perImage: 0 } } };
}

function passOver(images: readonly SetImage[], works: readonly EncoderWork[], decodeBytes: number): EncodePass {
  const here = new Set(images);
  const own = works.map((work) => ({
    ...work,
    network: { ...work.network },
    images: work.images.filter((image) => here.has(image)),
  }));
  return { images, works: own.filter((work) => work.images.length > 0), decodeBytes };
}

/** All of a plan's work, in its order. */
export function worksOf({ making, passes }: EncodingPlan): Work[] {
  const encoding = passes.flatMap(({ works }) => works.map(({ network, images }) => ({ network, images: images.length })));
  return [...making.map(workOfCopy), ...encoding];
}
