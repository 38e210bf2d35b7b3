import { COPY_STEP } from '../../../../main/contract/engine.ts';
import { EXPERTS, type ExpertName } from '../../../../main/contract/experts.ts';
import type { QueueProgress } from '../../../../main/contract/queue.ts';
import type { Dictionary } from '../../i18n/en/index.ts';

/** What encoders are called, by the steps that they are. */
const ENCODERS: ReadonlyMap<string, string> = new Map([
  ['siglip2', 'SigLIP2'],
  ['dinov3', 'DINOv3'],
  ['qwen2.5-vl', 'Qwen2.5-VL'],
]);

/**
 * What a running job does now, in the user's language; the name of a file or a model is said as it is. A network's
 * stages have names that only its authors know, so its step is all that is said.
 */
export function stepWords(
  { step, stage }: Pick<QueueProgress, 'step' | 'stage'>,
  words: Pick<Dictionary, 'queue' | 'create'>,
): string {
  const { queue, create } = words;
  const { steps, read, copied, decoded } = queue.doing;
  const model = ENCODERS.get(step.replace(COPY_STEP, ''));
  if (model !== undefined) return step.endsWith(COPY_STEP) ? copied(model) : read(model);
  const experts = step.split(' + ');
  if (experts.every(isExpert)) return decoded(experts.map((name) => create.expertNames[name]).join(' + '));
  return queue.stage(isStep(step, steps) ? steps[step] : step, stage);
}

function isExpert(name: string): name is ExpertName {
  return (EXPERTS as readonly string[]).includes(name);
}

function isStep<Steps extends object>(step: string, steps: Steps): step is Extract<keyof Steps, string> {
  return Object.hasOwn(steps, step);
}
