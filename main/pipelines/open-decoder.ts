import { expertOfModel, EXPERTS, type ExpertName, type TargetId } from '../contract/experts.ts';
import { I2lError } from '../contract/errors.ts';
import type { ExpertChoice } from '../contract/job.ts';
import type { ModelsChoice } from '../contract/models.ts';
import { expertKind, expertTarget, i2l, readExpert, type BlockWeights, type I2lConfig } from '../networks/i2l.ts';
import { i2lStages, type I2lParts } from '../networks/i2l-stages.ts';
import { recognise } from '../networks/network.ts';
import { CheckpointScope } from '../networks/scope.ts';
import { openLora, type Lora } from '../lora/read-lora.ts';
import { targetBlocks, type Target, type TargetModule } from '../lora/targets.ts';
import type { StoredDtype } from '../lora/write-lora.ts';
import type { Stage } from '../offload/stage.ts';
import { Checkpoint } from '../weights/checkpoint.ts';
import { configBeside, locateModel } from '../weights/locate.ts';
import { identityOf, type ModelIdentity } from './model-identity.ts';

/** Opens what a LoRA is decoded with: one expert or several, and static LoRAs beside them. Headers only. */

interface Part extends ModelIdentity {
  /** Of its own among the parts: 'style', 'bias' … */
  readonly name: string;
  /** What it is taken for, whatever its sizes; undefined for another static LoRA than Bias. */
  readonly expert: ExpertName | undefined;
  readonly strength: number;
}
export interface OpenExpert extends Part {
  readonly config: I2lConfig;
  readonly blocks: readonly BlockWeights[];
}
export interface OpenStatic extends Part {
  readonly lora: Lora;
}

export interface OpenDecoder {
  /** What progress and results call it: 'style', 'style + coarse + bias'. */
  readonly name: string;
  readonly target: Target;
  readonly modules: readonly TargetModule[];
  /** In the order in which their ranks lie in the LoRA; the static ones come last. */
  readonly experts: readonly OpenExpert[];
  readonly statics: readonly OpenStatic[];
  readonly stages: (dtype: StoredDtype) => readonly Stage[];
}

/** A file that takes part. */
export interface PartChoice {
  readonly name: string;
  readonly path: string;
  readonly strength: number;
}

/**
 * The files of a job's experts, in the reference's order; those without strength are left out.
 * @throws I2lError MODEL_MISSING
 */
export function locateExperts(models: ModelsChoice | undefined, target: TargetId, experts: readonly ExpertChoice[]): PartChoice[] {
  const used = experts.filter(({ strength }) => strength !== 0);
  return used
    .toSorted((a, b) => EXPERTS.indexOf(a.name) - EXPERTS.indexOf(b.name))
    .map(({ name, strength }) => ({ name, strength, path: locateModel(models, `${target}-i2l-${name}`).path }));
}

/**
 * Opens them and checks that they fit together.
 * @throws I2lError MODEL_UNRECOGNISED, MODEL_MISMATCH …; LORA_KEYS for a static LoRA
 */
export function openDecoder(choices: readonly PartChoice[]): OpenDecoder {
  const opened = choices.map(openPart);
  const experts = opened.filter((part) => 'blocks' in part);
  const statics = opened.filter((part) => 'lora' in part);
  const [first] = experts;
  if (!first) {
    const message = 'None of the files is an expert that reads images; a static LoRA alone needs no images.';
    throw new I2lError('BAD_ARGUMENT', message, { files: choices.map(({ path }) => path) });
  }
  const target = expertTarget(first.config);
  const modules = targetBlocks(target).flatMap((block) => block.modules);
  experts.forEach((expert) => checkFits(expert, first));
  statics.forEach((part) => checkModules(part, target, modules));
  return {
    name: [...experts, ...statics].map(({ name }) => name).join(' + '),
    target,
    modules,
    experts,
    statics,
    stages: (dtype) => i2lStages(partsOf(experts, statics), dtype),
  };
}

function partsOf(experts: readonly OpenExpert[], statics: readonly OpenStatic[]): I2lParts {
  return {
    experts,
    statics: statics.map(({ name, strength, lora }) => ({
      name,
      strength,
      modules: new Map(lora.modules.map((module) => [module.path, module])),
    })),
  };
}

function openPart({ name, path, strength }: PartChoice): OpenExpert | OpenStatic {
  const checkpoint = Checkpoint.open(path);
  if (isStatic(checkpoint)) {
    const id = staticId(name);
    return { ...identityOf(checkpoint, id), name, expert: expertOfModel(id), strength, lora: openLora(path) };
  }
  const { config, publishedId } = recognise(i2l, checkpoint, configBeside(path));
  const blocks = readExpert(new CheckpointScope(checkpoint), config);
  return { ...identityOf(checkpoint, publishedId ?? 'i2l'), name, expert: expertKind(config), strength, config, blocks };
}

/** A LoRA in any key form; an expert has no such keys. */
function isStatic(checkpoint: Checkpoint): boolean {
  return [...checkpoint.names].some((name) => /\.lora[_.](A|B|down|up)\./.test(name));
}

/** Its layout is not published: it is known by its name alone. */
function staticId(name: string): string {
  return name === 'bias' ? 'qwen-image-i2l-bias' : 'lora';
}

/** All ranks go into one file, and all experts read the same embedding. */
function checkFits({ path, config }: OpenExpert, first: OpenExpert): void {
  const sizes = ({ target, hidden, blocks, feedForward, refiners }: I2lConfig): string =>
    JSON.stringify({ target, hidden, blocks, feedForward, refiners });
  if (sizes(config) !== sizes(first.config)) {
    const message = `${path}: this expert is for another diffusion model than ${first.path}; a LoRA is for one.`;
    throw new I2lError('MODEL_MISMATCH', message, { file: path, other: first.path });
  }
  if (config.width === first.config.width) return;
  const message = `${path}: this expert reads embeddings of ${config.width} values, and ${first.path} of ${first.config.width}.`;
  throw new I2lError('MODEL_MISMATCH', message, { file: path, expected: first.config.width, got: config.width });
}

/** The reference drops modules of a static LoRA that the experts don't have; half a LoRA is worse than an error. */
function checkModules({ path, lora }: OpenStatic, target: Target, modules: readonly TargetModule[]): void {
  const known = new Map(modules.map((module) => [module.path, module]));
  for (const { path: module, in: inner, out } of lora.modules) {
    const wanted = known.get(module);
    if (wanted?.in === inner && wanted.out === out) continue;
    const why = wanted
      ? `is ${out} x ${inner} there and ${wanted.out} x ${wanted.in} in ${target.title}`
      : `is not one that the experts make for ${target.title}`;
    throw new I2lError('MODEL_MISMATCH', `${path}: the module ${module} ${why}.`, { file: path, module });
  }
}
