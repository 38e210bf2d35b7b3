import type { Transferable } from 'node:worker_threads';
import { Kernels } from '../offload/kernels.ts';
import { serve } from '../offload/threads.ts';
import { performTask, type Kind, type Results, type SentTask } from './lora-tasks.ts';

/** A thread of LoRA algebra. One thread inside each operator too: several threads stand side by side. */
const kernels = new Kernels({ device: 'cpu', threads: 1 });

serve<SentTask, Results[Kind]>(
  (sent) => performTask(sent, kernels),
  buffersOf,
  () => kernels.close(),
);

function buffersOf(result: Results[Kind]): Transferable[] {
  if (!('a' in result)) return [];
  return [result.a, result.b].map(({ data }) => data.buffer as ArrayBuffer);
}
