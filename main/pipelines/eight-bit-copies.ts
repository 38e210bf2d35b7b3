import type { Device } from '../contract/devices.ts';
import { formatBytes } from '../contract/format-bytes.ts';
import type { CreateJob } from '../contract/job.ts';
import { note } from '../contract/notes.ts';
import { exactByteType, type ByteType } from '../onnx/exact-bytes.ts';
import type { NetworkRunner, PipelineContext, PreparedNetwork, Work } from './context.ts';
import { EightBitCopy } from './eight-bit-copy.ts';
import type { OpenEncoder } from './open-encoders.ts';

/** The copies that a job's encoders use; none where it wants none. */
export type EightBitCopies = ReadonlyMap<OpenEncoder, EightBitCopy>;

/**
 * Copies of all encoders, as this processor multiplies them. Products of bytes are the CPU's: another device takes the
 * weights as they are.
 */
export async function openCopies(
  { eightBit }: Pick<CreateJob, 'eightBit'>,
  device: Device,
  encoders: readonly OpenEncoder[],
  { emit }: PipelineContext,
): Promise<EightBitCopies> {
  if (!eightBit) return new Map();
  if (device !== 'cpu') {
    const message = `--fast is for the CPU: on ${device} the encoders' weights are used as they are.`;
    emit({ type: 'note', ...note('EIGHT_BIT_NOT_USED', message, { device }) });
    return new Map();
  }
  return copiesOf(encoders, eightBit, await exactByteType());
}

/** Copies of all encoders, made or yet to be made. @param byteType absent: for a plan */
export function copiesOf(encoders: readonly OpenEncoder[], eightBit: CreateJob['eightBit'], byteType?: ByteType): EightBitCopies {
  return new Map(eightBit ? encoders.map((encoder) => [encoder, new EightBitCopy(eightBit.folder, encoder, byteType)]) : []);
}

/** A copy that a job makes before its encoders run. */
export interface CopyToMake {
  readonly copy: EightBitCopy;
  readonly network: PreparedNetwork;
}

/** Those that are missing. @param encoders that have images to see */
export function copiesToMake(copies: EightBitCopies, encoders: readonly OpenEncoder[]): CopyToMake[] {
  return encoders.flatMap((encoder) => {
    const copy = copies.get(encoder);
    return copy && !copy.isMade ? [{ copy, network: copy.prepare() }] : [];
  });
}

export function workOfCopy({ network }: CopyToMake): Work {
  return { network, images: 1 };
}

/** @throws I2lError as {@link EightBitCopy.make} */
export async function makeCopies({ emit }: PipelineContext, runner: NetworkRunner, making: readonly CopyToMake[]): Promise<void> {
  for (const { copy, network } of making) {
    const { path, of: model, bytes } = copy;
    const message = `${path}: an 8-bit copy of ${model} is made, once (${formatBytes(bytes)}).`;
    emit({ type: 'note', ...note('EIGHT_BIT_COPY', message, { model, bytes }) });
    await copy.make(runner, network);
  }
}
