import { NetworkRunner } from '../../main/pipelines/context.ts';
import type { EightBitCopy } from '../../main/pipelines/eight-bit-copy.ts';
import { silent } from './run-decoder.ts';

/** Makes an encoder's 8-bit copy as a job does. */
export async function makeCopy(copy: EightBitCopy): Promise<void> {
  const network = copy.prepare();
  const runner = new NetworkRunner(silent, { device: 'cpu', threads: 2 }, [{ network, images: 1 }], { memory: 2 ** 30 });
  try {
    await copy.make(runner, network);
  } finally {
    await runner.close();
  }
}
