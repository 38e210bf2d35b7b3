import { existsSync, realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import { I2lError } from '../contract/errors.ts';
import type { CreateJob, DecodeJob, EncodeJob, EngineEvent, JobResult } from '../contract/job.ts';
import { PREPROCESSING_VERSION } from '../imaging/preprocess.ts';
import { NetworkRunner, threadsOf, type PipelineContext, type PreparedNetwork } from './context.ts';
import { decodeToFile, equalWeights, prepareExpert, SYNTHETIC_WARNING, type DecodeRequest } from './decode-lora.ts';
import { chooseDevice } from './device-check.ts';
import { joinRows, readEmbeddings, writeEmbeddings, type EmbeddingPart, type EncoderIdentity } from './embeddings-file.ts';
import { prepareEncoder, readImages, runEncoder, type ReadyImage } from './encode-images.ts';
import { checkWidth, locateExpert, openEncoders, openExpert, type OpenEncoder, type OpenExpert } from './models.ts';
import { VERSION } from './version.ts';

/** The engine's main job and its two halves. Each opens everything first, then works, then writes once. */

export async function create(context: PipelineContext, job: CreateJob): Promise<JobResult> {
  const [name = 'style'] = job.experts;
  const encoders = openEncoders(job.models);
  const expert = openExpert(locateExpert(job.models, job.target, name));
  checkWidth(expert, encoders[0].width + encoders[1].width, 'the encoders');
  refuseOverwriting(job.output, [...job.images, expert.path, ...encoders.map(({ path }) => path)]);
  const images = await readImages(context, job.images, encoders, job.skipBad);
  const prepared = encoders.map(prepareEncoder);
  const decoder = prepareExpert(name, expert, job.dtype);
  const runner = await startRunner(context, job, [...prepared, decoder], images.length);
  try {
    const embeddings = joinRows(await embed(runner, prepared, encoders, images), images.length);
    const outcome = await decodeToFile(runner, decoder, expert, {
      ...job,
      embeddings,
      images: images.length,
      provenance: provenanceOf(expert, encoders, images.map(({ sha256 }) => sha256)), // prettier-ignore
    });
    return { type: 'done', ...outcome, ...runner.summary() };
  } finally {
    await runner.close();
  }
}

export async function encode(context: PipelineContext, job: EncodeJob): Promise<JobResult> {
  const encoders = openEncoders(job.models);
  refuseOverwriting(job.output, [...job.images, ...encoders.map(({ path }) => path)]);
  const images = await readImages(context, job.images, encoders, job.skipBad);
  const prepared = encoders.map(prepareEncoder);
  const runner = await startRunner(context, job, prepared, images.length);
  try {
    const parts = await embed(runner, prepared, encoders, images);
    const hashes = images.map(({ sha256 }) => sha256);
    const bytes = writeEmbeddings(job.output, { parts, encoders, hashes });
    return { type: 'done', output: job.output, bytes, images: images.length, ...runner.summary() };
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
  const runner = await startRunner(context, job, [decoder], images);
  try {
    const outcome = await decodeToFile(runner, decoder, expert, {
      ...job,
      embeddings: joinRows(parts, images),
      images,
      provenance: provenanceOf(expert, encoders, hashes),
    });
    return { type: 'done', ...outcome, ...runner.summary() };
  } finally {
    await runner.close();
  }
}

async function startRunner(
  context: PipelineContext,
  job: CreateJob | EncodeJob | DecodeJob,
  networks: readonly PreparedNetwork[],
  images: number,
): Promise<NetworkRunner> {
  const threads = threadsOf(job.threads);
  const device = await chooseDevice(job.device, threads, (event: EngineEvent) => context.emit(event));
  return new NetworkRunner(context, { device, threads }, networks, images, job.memory);
}

async function embed(
  runner: NetworkRunner,
  prepared: readonly PreparedNetwork[],
  encoders: readonly OpenEncoder[],
  images: readonly ReadyImage[],
): Promise<EmbeddingPart[]> {
  const parts: EmbeddingPart[] = [];
  for (const [i, encoder] of encoders.entries()) {
    const values = await runEncoder(runner, prepared[i] as PreparedNetwork, encoder, images);
    parts.push({ name: encoder.name, values, width: encoder.width });
  }
  return parts;
}

function provenanceOf(
  expert: OpenExpert,
  encoders: readonly EncoderIdentity[],
  hashes: readonly string[],
): DecodeRequest['provenance'] {
  const synthetic = expert.synthetic || encoders.some((encoder) => encoder.synthetic);
  return {
    version: VERSION,
    images: equalWeights(hashes),
    encoders: encoders.map(({ id, fingerprint }) => ({ id, fingerprint })),
    experts: [{ id: expert.id, fingerprint: expert.fingerprint, strength: 1 }],
    preprocessing: PREPROCESSING_VERSION,
    ...(synthetic ? { warning: SYNTHETIC_WARNING } : {}),
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
