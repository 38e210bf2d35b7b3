import { existsSync, rmSync } from 'node:fs';
import { z } from 'zod';
import { fixedRankJob } from '../contract/fixed-rank-job.ts';
import { mergeJobSchema } from '../contract/job.ts';
import { stopReasonOf, type JobRunner } from '../jobs/runner.ts';
import { startTold, type StartEngine } from './engine-job.ts';
import type { RecordLora } from './record-lora.ts';

const mergeAtRankJobSchema = mergeJobSchema.extend({
  kind: z.literal('merge-at-rank'),
  rank: z.int().positive().max(4096),
});
type MergeAtRankJob = z.infer<typeof mergeAtRankJobSchema>;

const MERGED = 'merged';
const DONE = 'engine';

/**
 * Merges LoRAs and gives the sum a rank: in single precision first, beside the output, then the best of that rank.
 * The sum is kept while the job waits to go on, and goes with it otherwise.
 */
export function mergeAtRankRunner(record: RecordLora, start: StartEngine): JobRunner<MergeAtRankJob, unknown> {
  return {
    kind: 'merge-at-rank',
    lane: 'engine',
    inputSchema: mergeAtRankJobSchema,
    run: async (job, context) => {
      const { journal, signal } = context;
      if (journal.done(DONE)) return journal.get(DONE);
      const sum = `${job.output}.${context.jobId}-merge.safetensors`;
      let goesOn = false;
      try {
        if (!journal.done(MERGED) || !existsSync(sum)) {
          await startTold({ ...mergeOf(job), output: sum }, context, start);
          journal.finish(MERGED, true);
        }
        const result = await startTold(resetOf(job, sum), context, start);
        journal.finish(DONE, result, await record({ file: job.output, note: job.library }));
        return result;
      } catch (error) {
        const reason = stopReasonOf(signal);
        goesOn = reason === 'pause' || reason === 'shutdown';
        throw error;
      } finally {
        if (!goesOn) rmSync(sum, { force: true });
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
