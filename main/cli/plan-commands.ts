import type { CreateJob } from '../contract/job.ts';
import { I2lError } from '../contract/errors.ts';
import { formatBytes } from '../contract/format-bytes.ts';
import { collectImages } from '../imaging/list-images.ts';
import { identify } from '../pipelines/identify.ts';
import { MACHINES } from '../pipelines/machines.ts';
import { planJob, predictJob, type JobEstimate, type Prediction } from '../pipelines/plan.ts';
import type { Identity } from '../weights/identity.ts';
import { eightBitOf, modelsOf, parseJob, withModels, type CommandContext, type CreateOptions } from './commands.ts';
import { counted, formatDuration } from './report.ts';

/** What is read off the models' headers alone: i2l identify and i2l plan. */

/** One bad file doesn't keep the others from being told. @returns false if one is bad or not known */
export function identifyFiles({ report }: CommandContext, files: readonly string[]): boolean {
  let allKnown = true;
  for (const file of files) {
    try {
      const identity = identify(file);
      report.result(identityWords(identity), { type: 'identity', ...identity });
      allKnown &&= identity.network !== undefined;
    } catch (error) {
      report.error(I2lError.from(error));
      allKnown = false;
    }
  }
  return allKnown;
}

export type PlanOptions = Pick<CreateOptions, 'models' | 'target' | 'experts' | 'dtype' | 'memory' | 'fast'> & {
  readonly machines?: boolean;
};

export async function plan(context: CommandContext, paths: readonly string[], options: PlanOptions): Promise<void> {
  const job = checked({ ...options, ...modelsOf(options.models), ...eightBitOf(options) });
  const images = collectImages(paths).length;
  const known = { ...(await withModels(job, context.signal)), images };
  const estimate = planJob(known);
  context.report.result(estimateWords(estimate), { type: 'plan', ...estimate });
  if (!options.machines) return;
  const rows = predictJob(known, MACHINES);
  context.report.result(rows.map(predictionLine).join('\n'), { type: 'predictions', predictions: rows });
}

/** The same limits as create's, without an output. */
function checked(job: object): CreateJob {
  const probe = {
    ...job,
    kind: 'create',
    sets: [{ output: '-', images: [{ file: '-', weight: 1 }] }],
    keyForm: 'comfyui',
    skipBad: false,
    device: 'cpu',
    threads: 0,
  };
  return parseJob(probe) as CreateJob;
}

function identityWords({ file, id, title, network, tensors, parameters, bytes, dtypes, fingerprint, synthetic }: Identity): string {
  const name = id ?? network ?? 'unknown';
  const size = `${tensors} tensors, ${(parameters / 1e9).toFixed(2)} B parameters, ${dtypes.join(' + ')}, ${formatBytes(bytes)}`;
  return `${file}: ${name}\n  ${title}${synthetic ? ' (random weights)' : ''}; ${size}; layout ${fingerprint}`;
}

function predictionLine({ machine, networks }: Prediction): string {
  const seconds = networks.reduce((sum, network) => sum + network.seconds, 0);
  const parts = networks.map((network) => `${network.network} ${formatDuration(network.seconds)}`);
  return `  predicted: ${machine.padEnd(42)} ${formatDuration(seconds).padStart(8)}  (${parts.join(', ')})`;
}

function estimateWords({
  networks,
  weightBytes,
  peakBytes,
  seconds,
  rank,
  modules,
  outputBytes,
  images,
  copies,
}: JobEstimate): string {
  const rows = networks.map((network) => {
    const { stages, runs, imagesPerRun, passes } = network;
    const often = passes === 1 ? '' : `, in ${passes} passes`;
    const how = `${counted(stages, 'stage')} in ${counted(runs, 'run')}, ${counted(imagesPerRun, 'image')} a run${often}`;
    return `  ${network.network.padEnd(8)} ${network.id}: reads ${formatBytes(network.weightBytes)}, peak ${formatBytes(network.peakBytes)}, about ${formatDuration(network.seconds)}; ${how}`;
  });
  return [
    `${counted(images, 'image')} -> rank ${rank}, ${modules} modules, ${formatBytes(outputBytes)}`,
    ...copies.map(({ of, bytes }) => `  first, once: an 8-bit copy of ${of}, ${formatBytes(bytes)}`),
    ...rows,
    `  in all   reads ${formatBytes(weightBytes)}, peak ${formatBytes(peakBytes)}, about ${formatDuration(seconds)} (a guess by this machine's cores; the run measures as it goes)`,
  ].join('\n');
}
