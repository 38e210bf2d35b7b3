import { I2lError } from '../contract/errors.ts';
import type { JobResult } from '../contract/job.ts';
import type { Metadata } from '../lora/metadata.ts';
import { factorName, LoraWriter, type LoraShape } from '../lora/write-lora.ts';
import type { NetworkRun } from '../offload/executor.ts';
import type { NetworkRunner, PreparedNetwork } from './context.ts';

export interface LoraFileRequest extends LoraShape {
  readonly output: string;
  readonly metadata: Metadata;
}

export type LoraOutcome = Pick<JobResult, 'output' | 'bytes' | 'rank' | 'modules' | 'tensorHash'>;

/** Runs stages that emit a LoRA's factors and writes them as they come; the file appears when it is whole. */
export async function streamLora(
  runner: NetworkRunner,
  stages: PreparedNetwork,
  load: NetworkRun['load'],
  { output, metadata, ...shape }: LoraFileRequest,
): Promise<LoraOutcome> {
  const { modules } = shape;
  const writer = new LoraWriter(output, shape, metadata);
  const places = new Map(
    modules.flatMap(({ path }) => (['A', 'B'] as const).map((factor) => [factorName(path, factor), [path, factor] as const])),
  );
  try {
    await runner.run(stages, {
      load,
      sink: (name, tensor) => {
        const place = places.get(name);
        if (!place) throw new I2lError('INTERNAL', `${name} is not a factor of this LoRA.`);
        writer.write(...place, tensor);
      },
    });
    const tensorHash = writer.finish();
    const rank = Math.max(...modules.map((module) => module.rank));
    return { output, bytes: writer.bytes, rank, modules: modules.length, tensorHash };
  } catch (error) {
    writer.abort();
    throw error;
  }
}
