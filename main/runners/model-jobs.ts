import { downloadJobSchema, verifyJobSchema, type DownloadJob, type VerifyJob } from '../contract/models-api.ts';
import type { Note } from '../contract/notes.ts';
import type { PullProgress, VerifiedFile, VerifyProgress } from '../contract/models.ts';
import type { AnyRunner, JobContext, JobRunner, ProgressUpdate } from '../jobs/runner.ts';
import type { ModelStore } from '../pipelines/model-store.ts';
import { modelsById } from '../weights/catalogue.ts';
import type { PulledFile } from '../weights/hub/pull.ts';

/** The store is loaded with the first job that needs it. */
export type GetModelStore = () => Promise<ModelStore>;

export function modelRunners(getStore: GetModelStore): AnyRunner[] {
  return [downloadRunner(getStore), verifyRunner(getStore)];
}

/**
 * Downloads models. What came is on the disk with its own journal, so a run that was stopped or killed goes on
 * from there; files that are whole are not asked for again.
 */
function downloadRunner(getStore: GetModelStore): JobRunner<DownloadJob, { files: PulledFile[] }> {
  return {
    kind: 'download',
    lane: 'download',
    inputSchema: downloadJobSchema,
    run: async ({ models, ...job }, context) => {
      const store = await getStore();
      return { files: await store.pull({ models: modelsById(models), ...job }, telling(context)) };
    },
  };
}

function verifyRunner(getStore: GetModelStore): JobRunner<VerifyJob, { files: VerifiedFile[] }> {
  return {
    kind: 'verify',
    lane: 'download',
    inputSchema: verifyJobSchema,
    run: async ({ models, repair, online }, context) => {
      const store = await getStore();
      return { files: await store.verify({ models: models && modelsById(models), repair, online }, telling(context)) };
    },
  };
}

function telling(context: JobContext): {
  readonly signal: AbortSignal;
  readonly onNote: (note: Note) => void;
  readonly onProgress: (progress: PullProgress | VerifyProgress) => void;
} {
  return {
    signal: context.signal,
    onNote: (note) => context.log(note),
    onProgress: (progress) => context.progress(updateOf(progress)),
  };
}

function updateOf(progress: PullProgress | VerifyProgress): ProgressUpdate {
  const { bytes, total } = progress;
  const shares = { bytesDone: bytes, bytesTotal: total, fraction: total > 0 ? Math.min(1, bytes / total) : 1 };
  if (progress.type === 'verify') return { step: 'verify', stage: progress.path, ...shares };
  const { model, file, bytesPerSecond, etaSeconds } = progress;
  return { step: model, stage: file, bytesPerSecond, ...shares, ...(etaSeconds === undefined ? {} : { etaSeconds }) };
}
