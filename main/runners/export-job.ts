import type { z } from 'zod';
import { exportAtRankJobSchema, exportJobSchema, type ExportAtRankJob, type ExportJob } from '../contract/export-jobs.ts';
import { I2lError } from '../contract/errors.ts';
import { fixedRankJob } from '../contract/fixed-rank-job.ts';
import type { EngineEvent } from '../contract/engine.ts';
import type { ResetRankJob } from '../contract/job.ts';
import type { LoraView } from '../contract/loras.ts';
import { failureNote, note } from '../contract/notes.ts';
import type { AnyRunner, JobContext, JobRunner } from '../jobs/runner.ts';
import type { Library } from '../library/library.ts';
import { exportLora } from '../pipelines/export-comfyui.ts';
import type { StartEngine } from './engine-job.ts';

/** What jobs over the library's LoRAs work on. */
export interface LibraryPlaces {
  readonly library: Library;
  readonly dataFolder: string;
}

type AnyExport = ExportJob | ExportAtRankJob;
type Exported = Awaited<ReturnType<typeof exportLora>>;

/**
 * Puts LoRAs of the library into ComfyUI, as they are beside other work, at another rank in an engine of their
 * own. The journal holds each that is there; the same content is never written twice under one name, so one that
 * was written just before the process died is found again.
 */
export function exportRunners(places: LibraryPlaces, start: StartEngine): AnyRunner[] {
  return [
    exportRunner('export', 'light', exportJobSchema, places, start),
    exportRunner('export-at-rank', 'engine', exportAtRankJobSchema, places, start),
  ];
}

function exportRunner<Job extends AnyExport>(
  kind: Job['kind'],
  lane: AnyRunner['lane'],
  inputSchema: z.ZodType<Job>,
  places: LibraryPlaces,
  start: StartEngine,
): JobRunner<Job, { exports: Exported[] }> {
  return {
    kind,
    lane,
    inputSchema,
    run: async (job, context) => {
      const failed: I2lError[] = [];
      for (const [at, id] of job.loras.entries()) {
        if (context.journal.done(keyOf(id))) continue;
        try {
          await exportOne(job, { id, at }, context, places, start);
        } catch (thrown) {
          if (context.signal.aborted) throw thrown;
          const error = I2lError.from(thrown);
          // Of one alone, it is the job's own failure, which the queue notes.
          if (job.loras.length > 1) context.log(failureNote(error));
          failed.push(error);
        }
      }
      const [first] = failed;
      if (first) throw summed(first, failed.length, job.loras.length);
      return { exports: job.loras.map((id) => context.journal.get(keyOf(id)) as Exported) };
    },
  };
}

function keyOf(id: number): string {
  return `lora ${id}`;
}

async function exportOne(
  job: AnyExport,
  { id, at }: { readonly id: number; readonly at: number },
  context: JobContext,
  { library, dataFolder }: LibraryPlaces,
  start: StartEngine,
): Promise<void> {
  const lora = library.loras.view(id);
  const told = (share: number): void =>
    context.progress({ step: 'export', stage: lora.name, fraction: (at + share) / job.loras.length });
  told(0);
  const { folder, name, subfolder, sidecar } = job;
  const preview = job.preview ? await previewOf(lora, library, context) : undefined;
  const rank = 'rank' in job ? job.rank : undefined;
  const request = { file: lora.file, folder, rank, name, subfolder, sidecar, preview, details: detailsOf(lora) };
  const exported = await exportLora(request, {
    dataFolder,
    signal: context.signal,
    search: { roots: job.installs },
    resetRank: (file, to, output) =>
      start(resetJob(job, file, to, output), { signal: context.signal, onEvent: (event) => told(shareOf(event)) }),
  });
  for (const said of exported.notes) context.log(said);
  const { path, sha256 } = exported;
  context.journal.finish(keyOf(id), exported, () => library.loraExports.add(id, { kind: 'comfyui', path, sha256 }));
}

function shareOf(event: EngineEvent): number {
  return event.type === 'progress' ? event.bytesDone / Math.max(1, event.bytesTotal) : 0;
}

/** A LoRA without its picture is better than none. */
async function previewOf({ name, preview }: LoraView, library: Library, { log }: JobContext): Promise<string | undefined> {
  if (preview === null) return undefined;
  try {
    return await library.images.fileOf(preview);
  } catch (error) {
    const known = I2lError.from(error);
    log(note('LORA_WITHOUT_PREVIEW', `${name}: it is exported without its preview: ${known.message}`, { name }, known));
    return undefined;
  }
}

function detailsOf({ name, notes, tags, triggerWords, defaultStrength }: LoraView): object {
  return { title: name, notes, tags, triggerWords, strength: defaultStrength };
}

function resetJob(job: AnyExport, file: string, rank: number, output: string): ResetRankJob {
  if (job.kind === 'export') throw new I2lError('INTERNAL', 'An export without a rank changes none.');
  const { memory, device, threads } = job;
  return fixedRankJob(file, rank, { output, dtype: 'bf16', keyForm: 'comfyui', memory, device, threads });
}

function summed(first: I2lError, failed: number, all: number): I2lError {
  if (all === 1) return first;
  const message = `${failed} of ${all} LoRAs could not be exported; run the job again for these. The first: ${first.message}`;
  return new I2lError(first.code, message, { ...first.fields, failed, all }, first);
}
