import { join } from 'node:path';
import type { DecodeJob } from '../../main/contract/job.ts';
import { runJob } from '../../main/pipelines/run-job.ts';
import { Checkpoint } from '../../main/weights/checkpoint.ts';
import { float32Bytes } from '../../main/weights/values.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';
import { goldenFolder, readAll } from './goldens.ts';

export const silent = { emit: () => undefined, signal: new AbortController().signal };

/** Decodes a golden's embeddings with its expert into `folder`, keys as the reference has them. */
export async function decodeGolden(
  name: string,
  folder: string,
  dtype: DecodeJob['dtype'],
  device: DecodeJob['device'] = 'cpu',
): Promise<Checkpoint> {
  const inputs = readAll(goldenFolder('i2l', name, 'expected.safetensors')).get('embeddings');
  const output = join(folder, `${name}-${dtype}-${device}.safetensors`);
  await runJob(silent, {
    kind: 'decode',
    embeddings: writeInputs(folder, inputs?.values ?? new Float32Array(), inputs?.shape ?? []),
    experts: [{ file: goldenFolder('i2l', name, 'expert.safetensors'), strength: 1 }],
    output,
    dtype,
    keyForm: 'reference',
    memory: 2 ** 30,
    device,
    threads: 2,
  });
  return Checkpoint.open(output);
}

/** The golden's inputs as an embeddings file: the decoder doesn't ask where a row is parted. */
function writeInputs(folder: string, values: Float32Array, shape: readonly number[]): string {
  const [images = 0, width = 0] = shape;
  const path = join(folder, 'embeddings.safetensors');
  const part = (image: number, name: string, from: number, to: number) => ({
    name: `image.${image}.${name}`,
    dtype: 'F32' as const,
    shape: [to - from],
    bytes: float32Bytes(values.slice(image * width + from, image * width + to)),
  });
  const split = Math.floor(width / 3);
  const rows = Array.from({ length: images }, (_, i) => [part(i, 'siglip2', 0, split), part(i, 'dinov3', split, width)]);
  writeSafetensors(path, rows.flat());
  return path;
}
