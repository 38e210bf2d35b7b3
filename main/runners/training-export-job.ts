import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { I2lError } from '../contract/errors.ts';
import { trainingExportJobSchema, type TrainingExportJob } from '../contract/export-jobs.ts';
import { note } from '../contract/notes.ts';
import type { JobContext, JobRunner } from '../jobs/runner.ts';
import { exportTrainingStart, LORA_FILE, type ImageFile } from '../pipelines/export-trainer.ts';
import { contentOf } from '../weights/atomic-copy.ts';
import { removeStaleParts } from '../weights/stale-files.ts';
import { startTold, type StartEngine } from './engine-job.ts';
import type { LibraryPlaces } from './export-job.ts';

/** The folder was free when the job began: what is in it later is the job's own. */
const BEGUN = 'begun';
const WRITTEN = 'written';

/**
 * Writes a folder from which a trainer goes on, with the images that the LoRA was made from. It appears whole, so
 * one that is there after the process died is not written again.
 */
export function trainingExportRunner(places: LibraryPlaces, start: StartEngine): JobRunner<TrainingExportJob, unknown> {
  return {
    kind: 'export-training',
    lane: 'engine',
    inputSchema: trainingExportJobSchema,
    run: async (job, context) => {
      const { journal } = context;
      if (journal.done(WRITTEN)) return journal.get(WRITTEN);
      // Before all that can fail: half a folder of a process that died would stay for good.
      removeStaleParts(job.folder);
      const file = join(job.folder, LORA_FILE);
      const isWritten = journal.done(BEGUN) && existsSync(file);
      if (!journal.done(BEGUN) && !existsSync(file)) journal.finish(BEGUN, true);
      const result = isWritten ? { folder: job.folder, trainer: job.trainer } : await write(job, context, places, start);
      const { sha256 } = await contentOf(file, context.signal);
      journal.finish(WRITTEN, result, () => places.library.loraExports.add(job.lora, { kind: job.trainer, path: file, sha256 }));
      return result;
    },
  };
}

async function write(job: TrainingExportJob, context: JobContext, { library }: LibraryPlaces, start: StartEngine): Promise<object> {
  const { lora: id, trainer, folder, rank, steps, baseModel, memory, device, threads } = job;
  const lora = await library.loras.get(id);
  const images = job.images ? await imagesOf(lora.madeFrom?.images ?? [], context, library) : [];
  const written = await exportTrainingStart(
    { file: lora.file, trainer, folder, rank, images, trigger: lora.triggerWords, steps, baseModel },
    {
      signal: context.signal,
      change: (change) => startTold({ ...change, memory, device, threads } as Parameters<StartEngine>[0], context, start),
    },
  );
  for (const said of [...written.notes, ...written.fillIn]) context.log(said);
  return written;
}

/** Those that are still somewhere; the others are named in the log. */
async function imagesOf(
  images: readonly { readonly hash: string; readonly caption: string }[],
  { log }: JobContext,
  { images: known }: LibraryPlaces['library'],
): Promise<ImageFile[]> {
  const files: ImageFile[] = [];
  for (const { hash, caption } of images) {
    try {
      files.push({ file: await known.fileOf(hash), ...(caption === '' ? {} : { caption }) });
    } catch (error) {
      const known = I2lError.from(error);
      log(note('TRAINING_IMAGE_LEFT_OUT', `An image is left out: ${known.message}`, {}, known));
    }
  }
  return files;
}
