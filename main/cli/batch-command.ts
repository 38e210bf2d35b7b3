import { resolve } from 'node:path';
import type { CreateJob, SetJob } from '../contract/job.ts';
import { outputOf, parseShard, readBatch, shardOf } from '../pipelines/batch.ts';
import { finishedSets } from '../pipelines/finished-sets.ts';
import { parseJob, recipeJob, runCreateJob, withModels, type CommandContext, type RecipeOptions } from './commands.ts';
import { recordMade } from './record.ts';
import { counted, resultWords } from './report.ts';

/** i2l batch: one LoRA for each image set, all in one pass over the weights. */

export interface BatchOptions extends RecipeOptions {
  readonly output: string;
  readonly shard?: string;
}

/** @returns false if a set could not be made */
export async function batch(context: CommandContext, source: string, options: BatchOptions): Promise<boolean> {
  const folder = resolve(options.output);
  const shard = parseShard(options.shard, process.env);
  const { sets: all, empty } = readBatch(resolve(source));
  const own = shardOf(all, shard);
  const { remark } = context.report;
  if (empty.length > 0) remark(`Without an image, and left out: ${emptyFolders(empty)}.`);
  if (shard.count > 1) remark(`Part ${shard.index} of ${shard.count}: ${own.length} of ${all.length} image sets.`);
  const sets = own.map((set): SetJob => ({ output: outputOf(folder, set), images: set.images }));
  if (sets.length === 0) return report(context, { sets: 0, finished: 0 });
  const job = await withModels(parseJob({ ...recipeJob(options), kind: 'create', sets }) as CreateJob, context.signal);
  const finished = new Set(await finishedSets(job.sets, job));
  if (finished.size > 0) remark(`${finished.size} of ${sets.length} LoRAs are there already and are left as they are.`);
  // A batch that was cut off may have ended between a LoRA and its note.
  const there = new Set([...finished].map(({ output }) => output));
  if (options.library !== false) await recordMade(context, job, there, { known: true });
  const left = job.sets.filter((set) => !finished.has(set));
  if (left.length === 0) return report(context, { sets: sets.length, finished: finished.size });
  const result = await runCreateJob(context, { ...job, sets: left }, options);
  context.report.result(resultWords(result), result);
  return (result.failedSets ?? 0) === 0;
}

/** Some are named; hundreds would hide all else. */
const NAMED = 5;

function emptyFolders(names: readonly string[]): string {
  const more = names.length - NAMED;
  return names.slice(0, NAMED).join(', ') + (more > 0 ? ` and ${counted(more, 'other folder')}` : '');
}

function report({ report: to }: CommandContext, { sets, finished }: { sets: number; finished: number }): true {
  const all = finished === 1 ? 'The LoRA is' : `All ${finished} LoRAs are`;
  const words = sets === 0 ? 'There is no image set for this part of the batch.' : `${all} there already.`;
  to.result(words, { type: 'batch', sets, finished });
  return true;
}
