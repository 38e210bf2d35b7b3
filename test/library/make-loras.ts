import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { LoraFacts } from '../../main/contract/loras.ts';
import { inspectLora } from '../../main/pipelines/inspect-lora.ts';
import { randomDense, writeLora } from '../lora/lora-files.ts';

/** A real LoRA of one small module, by its seed. @returns what its file says */
export function makeLora(file: string, seed: number, rank = 2, metadata: LoraFacts['metadata'] = {}): LoraFacts {
  mkdirSync(dirname(file), { recursive: true });
  const path = 'transformer_blocks.0.attn.to_q';
  const module = { path, a: randomDense(rank, 4, seed), b: randomDense(4, rank, seed + 1) };
  writeLora(file, [module], undefined, {}, metadata);
  return inspectLora(file);
}
