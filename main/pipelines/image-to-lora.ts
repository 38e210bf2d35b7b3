import { existsSync, realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import { I2lError } from '../contract/errors.ts';
import type { CreateJob, DecodeJob, EncodeJob, EngineEvent, ExpertChoice, JobResult } from '../contract/job.ts';
import { PREPROCESSING_VERSION } from '../imaging/preprocess.ts';
import type { Device } from '../onnx/runtime.ts';
import { imagesThatFit, NetworkRunner, threadsOf, type PipelineContext, type PreparedNetwork, type Work } from './context.ts';
import { decodedRows, decodeToFiles, prepareExpert, SYNTHETIC_WARNING, type DecodeSet } from './decode-lora.ts';
import { chooseDevice } from './device-check.ts';
import { EmbeddingCache } from './embedding-cache.ts';
import { EmbeddingStore } from './embedding-store.ts';
import { joinRows, readEmbeddings, writeEmbeddings, type EmbeddingPart, type EncoderIdentity } from './embeddings-file.ts';
import { planPasses, runPass, worksOf } from './encode-images.ts';
import { ImageSets, type ImageSet, type SetImage } from './image-sets.ts';
import { checkWidth, locateExpert, openEncoders, openExpert, type OpenEncoder, type OpenExpert } from './models.ts';
import { recipeId, sharesOf, type Recipe } from './recipe.ts';
import type { LoraOutcome } from './stream-lora.ts';
import { VERSION } from './version.ts';

/**
 * The engine's main job and its two halves. Each opens everything first, then works. However many sets a job
 * has, their images go through the encoders together, and their embeddings through the expert.
 */

export async function create(context: PipelineContext, job: CreateJob): Promise<JobResult> {
  const [choice = { name: 'style', strength: 1 }] = job.experts;
  const encoders = openEncoders(job.models);
  const expert = openExpert(locateExpert(job.models, job.target, choice.name));
  checkWidth(expert, encoders[0].width + encoders[1].width, 'the encoders');
  const models = [expert.path, ...encoders.map(({ path }) => path)];
  for (const { output, images } of job.sets) refuseOverwriting(output, [...images.map(({ file }) => file), ...models]);
  refuseSameOutput(job.sets.map(({ output }) => output));
  const sets = new ImageSets(context, job.sets, job.skipBad);
  const device = await deviceFor(context, job);
  const store = new EmbeddingStore(device, job.cache && new EmbeddingCache(job.cache), (error) =>
    context.emit({ type: 'note', message: `Embeddings are not kept: ${error.message}` }),
  );
  const missing = store.load(encoders, sets.distinctImages());
  // With images to read, all that are refused are told together, after that.
  if (missing.length === 0) sets.settle();
  const passes = planPasses(encoders, missing, job.memory);
  const decodes = planDecodes(prepareExpert(choice.name, expert, job.dtype), sets.sets, job.memory);
  const runner = startRunner(context, job, device, [...passes.flatMap(worksOf), ...decodes.map(workOf)]);
  try {
    for (const pass of passes) await runPass(context, runner, pass, { encoders, sets, store });
    store.trim();
    const written: LoraOutcome[] = [];
    for (const decode of decodes)
      written.push(...(await runDecode(context, runner, decode, { job, choice, encoders, expert, sets, store })));
    return { type: 'done', ...sumOf(written, job, sets), cached: store.cached, ...runner.summary() };
  } finally {
    await runner.close();
  }
}

/** Sets whose images go through the expert together, as many as the memory allows. */
interface DecodePass {
  readonly network: PreparedNetwork;
  readonly sets: readonly ImageSet[];
}

/** More files than this are not written at once: each is open until the last module. */
const MOST_FILES = 128;

function planDecodes(network: PreparedNetwork, sets: readonly ImageSet[], memory: number): DecodePass[] {
  const total = sets.reduce((sum, { images }) => sum + images.length, 0);
  const fits = imagesThatFit([network], decodedRows(total), memory);
  const passes: ImageSet[][] = [];
  let images = Infinity;
  for (const set of sets) {
    const last = passes.at(-1);
    if (last && images + set.images.length <= fits && last.length < MOST_FILES) last.push(set);
    else passes.push([set]);
    images = passes.at(-1) === last ? images + set.images.length : set.images.length;
  }
  return passes.map((own) => ({ network: { ...network }, sets: own }));
}

function workOf({ network, sets }: DecodePass): Work {
  return { network, images: decodedRows(sets.reduce((sum, { images }) => sum + images.length, 0)) };
}

interface DecodeParts {
  readonly job: CreateJob;
  readonly choice: ExpertChoice;
  readonly encoders: readonly OpenEncoder[];
  readonly expert: OpenExpert;
  readonly sets: ImageSets;
  readonly store: EmbeddingStore;
}

async function runDecode(
  context: PipelineContext,
  runner: NetworkRunner,
  { network, sets: planned }: DecodePass,
  { job, choice, encoders, expert, sets, store }: DecodeParts,
): Promise<LoraOutcome[]> {
  const outputs = new Set(planned.map(({ output }) => output));
  const left = sets.sets.filter(({ output }) => outputs.has(output));
  const provenance = provenanceOf(expert, encoders, choice.strength);
  const decodeSets = left.map(({ output, images }): DecodeSet => {
    const shares = sharesOf(images);
    const recipe = recipeFor(expert, encoders, shares, choice.strength);
    const embeddings = joinRows(partsOf(store, encoders, images), images.length);
    return { output, embeddings, provenance: { ...provenance, images: shares, ...recipe } };
  });
  const { dtype, keyForm } = job;
  const outcomes = await decodeToFiles(runner, network, expert, { sets: decodeSets, strength: choice.strength, dtype, keyForm });
  outcomes.forEach((outcome, i) => context.emit({ type: 'lora', ...outcome, images: left[i]?.images.length ?? 0 }));
  return outcomes;
}

function partsOf(store: EmbeddingStore, encoders: readonly OpenEncoder[], images: readonly SetImage[]): EmbeddingPart[] {
  return encoders.map((encoder) => ({ name: encoder.name, width: encoder.width, values: store.rows(encoder, images) }));
}

function sumOf(written: readonly LoraOutcome[], job: CreateJob, sets: ImageSets): Partial<JobResult> {
  const [only] = written;
  const images = sets.sets.reduce((sum, set) => sum + set.images.length, 0);
  if (job.sets.length === 1 && only) return { ...only, images };
  const bytes = written.reduce((sum, lora) => sum + lora.bytes, 0);
  return { bytes, images, loras: written.length, failedSets: sets.failed };
}

export async function encode(context: PipelineContext, job: EncodeJob): Promise<JobResult> {
  const encoders = openEncoders(job.models);
  refuseOverwriting(job.output, [...job.images, ...encoders.map(({ path }) => path)]);
  const images = job.images.map((file) => ({ file, weight: 1 }));
  const sets = new ImageSets(context, [{ output: job.output, images }], job.skipBad);
  const device = await deviceFor(context, job);
  const store = new EmbeddingStore(device, undefined);
  const missing = sets.distinctImages();
  if (missing.length === 0) sets.settle();
  const passes = planPasses(encoders, missing, job.memory);
  const runner = startRunner(context, job, device, passes.flatMap(worksOf));
  try {
    for (const pass of passes) await runPass(context, runner, pass, { encoders, sets, store });
    const used = sets.sets[0]?.images ?? [];
    const hashes = used.map(({ sha256 }) => sha256);
    const bytes = writeEmbeddings(job.output, { parts: partsOf(store, encoders, used), encoders, hashes });
    return { type: 'done', output: job.output, bytes, images: used.length, ...runner.summary() };
  } finally {
    await runner.close();
  }
}

export async function decode(context: PipelineContext, job: DecodeJob): Promise<JobResult> {
  const { parts, encoders, hashes } = readEmbeddings(job.embeddings);
  const images = hashes.length;
  const width = parts.reduce((sum, part) => sum + part.width, 0);
  const expert = openExpert(job.expert);
  checkWidth(expert, width, `the embeddings of ${job.embeddings}`);
  refuseOverwriting(job.output, [job.embeddings, expert.path]);
  const decoder = prepareExpert('expert', expert, job.dtype);
  const runner = startRunner(context, job, await deviceFor(context, job), [{ network: decoder, images: decodedRows(images) }]);
  try {
    const shares = sharesOf(hashes.map((sha256) => ({ sha256, weight: 1 })));
    const provenance = { ...provenanceOf(expert, encoders, 1), images: shares, ...recipeFor(expert, encoders, shares) };
    const set = { output: job.output, embeddings: joinRows(parts, images), provenance };
    const [outcome] = await decodeToFiles(runner, decoder, expert, { ...job, sets: [set], strength: 1 });
    return { type: 'done', ...outcome, images, ...runner.summary() };
  } finally {
    await runner.close();
  }
}

function deviceFor(context: PipelineContext, job: CreateJob | EncodeJob | DecodeJob): Promise<Device> {
  return chooseDevice(job.device, threadsOf(job.threads), (event: EngineEvent) => context.emit(event));
}

function startRunner(
  context: PipelineContext,
  job: CreateJob | EncodeJob | DecodeJob,
  device: Device,
  works: readonly Work[],
): NetworkRunner {
  return new NetworkRunner(context, { device, threads: threadsOf(job.threads) }, works, job.memory);
}

function provenanceOf(
  expert: OpenExpert,
  encoders: readonly EncoderIdentity[],
  strength: number,
): Omit<DecodeSet['provenance'], 'images'> {
  const synthetic = expert.synthetic || encoders.some((encoder) => encoder.synthetic);
  return {
    version: VERSION,
    encoders: encoders.map(({ id, fingerprint }) => ({ id, fingerprint })),
    experts: [{ id: expert.id, fingerprint: expert.fingerprint, strength }],
    preprocessing: PREPROCESSING_VERSION,
    ...(synthetic ? { warning: SYNTHETIC_WARNING } : {}),
  };
}

/** Embeddings that were made elsewhere don't say by which encoders, or of which images: they have no recipe. */
function recipeFor(
  { contentId, target }: OpenExpert,
  encoders: readonly EncoderIdentity[],
  images: Recipe['images'],
  strength = 1,
): { recipe?: string } {
  if (encoders.length === 0 || images.some(({ sha256 }) => sha256 === '')) return {};
  return { recipe: recipeId({ target: target.id, images, encoders, experts: [{ contentId, strength }] }) };
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
  throw new I2lError('BAD_ARGUMENT', `${twice}: two sets would be written there; give each a name of its own.`, { file: twice });
}
