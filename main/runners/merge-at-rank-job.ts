import { rmSync } from 'node:fs';
import { z } from 'zod';
import { fixedRankJob } from '../contract/fixed-rank-job.ts';
import { mergeJobSchema } from '../contract/job.ts';
import type { JobRunner } from '../jobs/runner.ts';
import { removeStaleParts } from '../weights/stale-files.ts';
import { temporaryPath } from '../weights/write-safetensors.ts';
import { startTold, type StartEngine } from './engine-job.ts';
import type { RecordLora } from './record-lora.ts';

const mergeAtRankJobSchema = mergeJobSchema.extend({
  kind: z.literal('merge-at-rank'),
  rank: z.int().positive().max(4096),
});
type MergeAtRankJob = z.infer<typeof mergeAtRankJobSchema>;

const DONE = 'engine';

/**
 * Merges LoRAs and gives the sum a rank: in single precision first, beside the output, then the best of that rank.
 * The sum has gigabytes, so it goes with the run, however that ends: a job that waits may be cancelled and never run again.
 */
export function mergeAtRankRunner(record: RecordLora, start: StartEngine): JobRunner<MergeAtRankJob, unknown> {
  return {
    kind: 'merge-at-rank',
    lane: 'engine',
    inputSchema: mergeAtRankJobSchema,
    run: async (job, context) => {
      const { journal } = context;
      if (journal.done(DONE)) return journal.get(DONE);
      // Of a process that died.
      removeStaleParts(job.output);
      const sum = temporaryPath(job.output);
      try {
        await startTold({ ...mergeOf(job), output: sum }, context, start);
        const result = await startTold(resetOf(job, sum), context, start);
        journal.finish(DONE, result, await record({ file: job.output, note: job.library }));
        return result;
      } finally {
        rmSync(sum, { force: true });
      }
    },
  };
}

type EngineJob = Parameters<StartEngine>[0];

function mergeOf({ inputs, keyForm, memory, device, threads }: MergeAtRankJob): EngineJob & { kind: 'merge' } {
  return { kind: 'merge', inputs, dtype: 'f32', keyForm, output: '', memory, device, threads };
}

function resetOf({ rank, output, dtype, keyForm, memory, device, threads }: MergeAtRankJob, file: string): EngineJob {
  return fixedRankJob(file, rank, { output, dtype, keyForm, memory, device, threads });
}
