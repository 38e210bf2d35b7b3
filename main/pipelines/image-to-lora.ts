import { existsSync, realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import { embeddingsFor } from '../contract/experts.ts';
import { I2lError } from '../contract/errors.ts';
import type { JobResult } from '../contract/engine.ts';
import type { CreateJob, DecodeJob, EncodeJob } from '../contract/job.ts';
import { note } from '../contract/notes.ts';
import { PREPROCESSING_VERSION } from '../imaging/preprocess.ts';
import type { Device } from '../contract/devices.ts';
import {
  imagesThatFit,
  NetworkRunner,
  threadsOf,
  type Budgets,
  type PipelineContext,
  type PreparedNetwork,
  type Work,
} from './context.ts';
import { checkInputs, decodeToFiles, prepareDecoder, type DecodeSet } from './decode-lora.ts';
import { decodePasses } from './decode-passes.ts';
import { openCopies, type EightBitCopies } from './eight-bit-copies.ts';
import { EmbeddingCache } from './embedding-cache.ts';
import { EmbeddingStore } from './embedding-store.ts';
import { readEmbeddings, writeEmbeddings, type EncoderIdentity } from './embeddings-file.ts';
import { encodeImages } from './encode-images.ts';
import { ImageSets, type ImageSet } from './image-sets.ts';
import { openDecoder, type OpenDecoder } from './open-decoder.ts';
import { openEncoders, type OpenEncoder } from './open-encoders.ts';
import { openModels, type OpenModels } from './open-models.ts';
import { planEncoding, worksOf } from './plan-encoding.ts';
import { recipeId, sharesOf, type Recipe } from './recipe.ts';
import type { LoraOutcome } from './stream-lora.ts';
import { VERSION } from './version.ts';

/**
 * The engine's main job and its two halves. Each opens everything first, then works. However many sets a job
 * has, their images go through the encoders together, and their embeddings through the expert.
 */

export async function create(context: PipelineContext, job: CreateJob): Promise<JobResult> {
  const { encoders, decoder } = openModels(job);
  const models = pathsOf(decoder, encoders);
  for (const { output, images } of job.sets) refuseOverwriting(output, [...images.map(({ file }) => file), ...models]);
  refuseSameOutput(job.sets.map(({ output }) => output));
  const sets = await ImageSets.read(context, job.sets, job.skipBad);
  const device = deviceOf(job);
  const copies = await openCopies(job, device, encoders, context);
  const makers = identitiesOf(encoders, copies);
  const store = new EmbeddingStore(arithmeticOf(device, copies), job.cache && new EmbeddingCache(job.cache), (error) =>
    context.emit({ type: 'note', ...note('EMBEDDINGS_NOT_KEPT', `Embeddings are not kept: ${error.message}`, {}, error) }),
  );
  const encoding = await planEncoding(sets, { encoders, store, copies, budgets: budgetsOf(job), device });
  // With images to read, all that are refused are told together, after that.
  if (encoding.passes.length === 0) sets.settle();
  const decodes = planDecodes(prepareDecoder(decoder, job.dtype, encoding.held, device), sets.sets, budgetsOf(job));
  const runner = startRunner(context, job, device, [...worksOf(encoding), ...decodes.map(workOf)]);
  try {
    await encodeImages(context, runner, encoding, { sets, store });
    const written: LoraOutcome[] = [];
    for (const decode of decodes)
      written.push(...(await runDecode(context, runner, decode, { job, encoders, makers, decoder, sets, store })));
    return { type: 'done', ...sumOf(written, job, sets), cached: store.cached, ...runner.summary() };
  } finally {
    await runner.close();
  }
}

function pathsOf({ experts, statics }: OpenDecoder, encoders: readonly OpenEncoder[]): string[] {
  return [...experts, ...statics, ...encoders].map(({ path }) => path);
}

/** Sets whose images go through the experts together, as many as the memory allows. */
interface DecodePass {
  readonly network: PreparedNetwork;
  readonly sets: readonly ImageSet[];
}

function planDecodes(network: PreparedNetwork, sets: readonly ImageSet[], budgets: Budgets): DecodePass[] {
  const total = sets.reduce((sum, { images }) => sum + images.length, 0);
  const fits = imagesThatFit((images) => [{ network, images }], total, budgets);
  const passes = decodePasses(sets, ({ images }) => images.length, fits);
  return passes.map((own) => ({ network: { ...network }, sets: own }));
}

function workOf({ network, sets }: DecodePass): Work {
  return { network, images: sets.reduce((sum, { images }) => sum + images.length, 0) };
}

interface DecodeParts extends OpenModels {
  readonly job: CreateJob;
  readonly makers: readonly EncoderIdentity[];
  readonly sets: ImageSets;
  readonly store: EmbeddingStore;
}

async function runDecode(
  context: PipelineContext,
  runner: NetworkRunner,
  { network, sets: planned }: DecodePass,
  { job, encoders, makers, decoder, sets, store }: DecodeParts,
): Promise<LoraOutcome[]> {
  const outputs = new Set(planned.map(({ output }) => output));
  const left = sets.sets.filter(({ output }) => outputs.has(output));
  const decodeSets = left.map(({ output, images }): DecodeSet => {
    const provenance = provenanceOf(decoder, makers, sharesOf(images));
    return { output, parts: store.parts(encoders, images), provenance };
  });
  const { dtype, keyForm } = job;
  const outcomes = await decodeToFiles(runner, network, decoder, { sets: decodeSets, dtype, keyForm });
  outcomes.forEach((outcome, i) => context.emit({ type: 'lora', ...outcome, images: left[i]?.images.length ?? 0 }));
  return outcomes;
}

function sumOf(written: readonly LoraOutcome[], job: CreateJob, sets: ImageSets): Partial<JobResult> {
  const [only] = written;
  const images = sets.sets.reduce((sum, set) => sum + set.images.length, 0);
  if (job.sets.length === 1 && only) return { ...only, images };
  const bytes = written.reduce((sum, lora) => sum + lora.bytes, 0);
  return { bytes, images, loras: written.length, failedSets: sets.failed };
}

export async function encode(context: PipelineContext, job: EncodeJob): Promise<JobResult> {
  const encoders = openEncoders(job.models, embeddingsFor(job.experts));
  refuseOverwriting(job.output, [...job.images, ...encoders.map(({ path }) => path)]);
  const images = job.images.map((file) => ({ file, weight: 1 }));
  const sets = await ImageSets.read(context, [{ output: job.output, images }], job.skipBad);
  const device = deviceOf(job);
  const copies = await openCopies(job, device, encoders, context);
  const store = new EmbeddingStore(arithmeticOf(device, copies), undefined);
  const encoding = await planEncoding(sets, { encoders, store, copies, budgets: budgetsOf(job), device });
  if (encoding.passes.length === 0) sets.settle();
  const runner = startRunner(context, job, device, worksOf(encoding));
  try {
    await encodeImages(context, runner, encoding, { sets, store });
    const used = sets.sets[0]?.images ?? [];
    const hashes = used.map(({ sha256 }) => sha256);
    const bytes = writeEmbeddings(job.output, {
      parts: store.parts(encoders, used),
      encoders: identitiesOf(encoders, copies),
      hashes,
    });
    return { type: 'done', output: job.output, bytes, images: used.length, ...runner.summary() };
  } finally {
    await runner.close();
  }
}

export async function decode(context: PipelineContext, job: DecodeJob): Promise<JobResult> {
  const { parts, encoders, hashes } = readEmbeddings(job.embeddings);
  const images = hashes.length;
  const decoder = openDecoder(job.experts.map(({ file, strength }, i) => ({ name: partTitle(i), path: file, strength })));
  checkInputs(decoder, parts, `the embeddings of ${job.embeddings}`);
  refuseOverwriting(job.output, [job.embeddings, ...pathsOf(decoder, [])]);
  const held = parts.reduce((sum, { width }) => sum + 4 * width * images, 0);
  const network = prepareDecoder(decoder, job.dtype, held, deviceOf(job));
  const runner = startRunner(context, job, deviceOf(job), [{ network, images }]);
  try {
    const shares = sharesOf(hashes.map((sha256) => ({ sha256, weight: 1 })));
    const set = { output: job.output, parts, provenance: provenanceOf(decoder, encoders, shares) };
    const [outcome] = await decodeToFiles(runner, network, decoder, { ...job, sets: [set] });
    return { type: 'done', ...outcome, images, ...runner.summary() };
  } finally {
    await runner.close();
  }
}

/** What embeddings are kept by, beside image and encoder. */
function arithmeticOf(device: Device, copies: EightBitCopies): string {
  return copies.size > 0 ? `${device}, 8 bits` : device;
}

function identitiesOf(encoders: readonly OpenEncoder[], copies: EightBitCopies): EncoderIdentity[] {
  return encoders.map((encoder) => (copies.has(encoder) ? { ...encoder, bits: 8 } : encoder));
}

function partTitle(i: number): string {
  return i === 0 ? 'expert' : `expert ${i + 1}`;
}

/** Whoever starts an engine has chosen: a device has to be tested in a process of its own. */
function deviceOf({ device }: CreateJob | EncodeJob | DecodeJob): Device {
  return device === 'auto' ? 'cpu' : device;
}

/** A limit of the device's memory means nothing on the CPU. */
function budgetsOf(job: CreateJob | EncodeJob | DecodeJob): Budgets {
  return { memory: job.memory, vram: deviceOf(job) === 'cpu' ? undefined : job.vram };
}

function startRunner(
  context: PipelineContext,
  job: CreateJob | EncodeJob | DecodeJob,
  device: Device,
  works: readonly Work[],
): NetworkRunner {
  return new NetworkRunner(context, { device, threads: threadsOf(job.threads) }, works, budgetsOf(job));
}

function provenanceOf(
  { experts, statics, target }: OpenDecoder,
  encoders: readonly EncoderIdentity[],
  images: Recipe['images'],
): DecodeSet['provenance'] {
  const parts = [...experts, ...statics];
  // Embeddings that were made elsewhere don't say by which encoders, or of which images: they have no recipe.
  const isKnown = encoders.length > 0 && images.every(({ sha256 }) => sha256 !== '');
  return {
    version: VERSION,
    images,
    encoders: encoders.map(({ id, fingerprint, bits }) => ({ id, fingerprint, ...(bits && { bits }) })),
    experts: parts.map(({ id, expert, fingerprint, strength }) => ({ id, expert, fingerprint, strength })),
    preprocessing: PREPROCESSING_VERSION,
    synthetic: [...parts, ...encoders].some((model) => model.synthetic),
    ...(isKnown ? { recipe: recipeId({ target: target.id, images, encoders, experts: parts }) } : {}),
  };
}

/** Links resolved, where there is such a file. */
function placeOf(path: string): string {
  return existsSync(path) ? realpathSync(path) : resolve(path);
}

/** An output that is also an input would be gone with the first failure. */
function refuseOverwriting(output: string, inputs: readonly string[]): void {
  const same = inputs.find((input) => placeOf(input) === placeOf(output));
  if (same === undefined) return;
  throw new I2lError('OUTPUT_IS_INPUT', `${output}: it is also an input; choose another name for the output.`, { file: output });
}

function refuseSameOutput(outputs: readonly string[]): void {
  const places = outputs.map(placeOf);
  const twice = outputs.find((_, i) => places.indexOf(places[i] as string) !== i);
  if (twice === undefined) return;
  throw new I2lError('BAD_ARGUMENT', `${twice}: two sets would be written there; give each a name of its own.`, {
    file: twice,
    reason: 'same-output',
  });
}
