import { I2lError } from '../contract/errors.ts';
import { dinov3, dinov3Stages } from '../networks/dinov3.ts';
import { expertTarget, i2l, i2lStages, type I2lConfig } from '../networks/i2l.ts';
import { recognise, type EncoderStages, type Network } from '../networks/network.ts';
import { CheckpointScope, type Scope } from '../networks/scope.ts';
import { siglip2, siglip2Stages } from '../networks/siglip2.ts';
import type { Target } from '../lora/targets.ts';
import type { StoredDtype } from '../lora/write-lora.ts';
import type { Stage } from '../offload/stage.ts';
import { Checkpoint } from '../weights/checkpoint.ts';
import { contentId } from '../weights/content-id.ts';
import { configBeside, locateModel } from '../weights/locate.ts';

/** Opens the models that a job needs: headers only, so it takes milliseconds and fails before any work. */

export interface OpenEncoder extends EncoderStages {
  readonly name: 'siglip2' | 'dinov3';
  readonly id: string;
  readonly fingerprint: string;
  /** Of the values; see weights/content-id.ts. */
  readonly contentId: string;
  readonly path: string;
  readonly synthetic: boolean;
}

/** The two encoders whose outputs, joined, are what an expert reads. */
export function openEncoders(models: string): readonly [OpenEncoder, OpenEncoder] {
  return [
    openEncoder(models, 'siglip2-g384', 'siglip2', siglip2, siglip2Stages),
    openEncoder(models, 'dinov3-7b', 'dinov3', dinov3, dinov3Stages),
  ];
}

function openEncoder<Config extends object>(
  models: string,
  id: string,
  name: OpenEncoder['name'],
  network: Network<Config>,
  stagesOf: (scope: Scope, config: Config) => EncoderStages,
): OpenEncoder {
  const { path, configPath } = locateModel(models, id);
  const checkpoint = Checkpoint.open(path);
  const { config, publishedId } = recognise(network, checkpoint, configPath);
  const stages = stagesOf(new CheckpointScope(checkpoint), config);
  return { ...stages, name, id: publishedId ?? name, ...identityOf(checkpoint) };
}

export interface OpenExpert {
  readonly id: string;
  readonly fingerprint: string;
  readonly contentId: string;
  readonly path: string;
  readonly synthetic: boolean;
  readonly config: I2lConfig;
  readonly target: Target;
  readonly stages: (dtype: StoredDtype) => readonly Stage[];
}

/** @param path the expert's file. @throws I2lError UNSUPPORTED for one that needs Qwen2.5-VL's tokens */
export function openExpert(path: string): OpenExpert {
  const checkpoint = Checkpoint.open(path);
  const { config, publishedId } = recognise(i2l, checkpoint, configBeside(path));
  if (config.residual) {
    const message = `${path}: this expert also reads Qwen2.5-VL's tokens, which this version can't compute yet; use the Style expert.`;
    throw new I2lError('UNSUPPORTED', message, { file: path });
  }
  return {
    id: publishedId ?? 'i2l',
    ...identityOf(checkpoint),
    config,
    target: expertTarget(config),
    stages: (dtype) => i2lStages(new CheckpointScope(checkpoint), config, dtype),
  };
}

export function locateExpert(models: string, target: string, expert: string): string {
  return locateModel(models, `${target}-i2l-${expert}`).path;
}

/** @throws I2lError MODEL_MISMATCH where an expert was made for embeddings of another width */
export function checkWidth(expert: OpenExpert, width: number, whose: string): void {
  if (expert.config.width === width) return;
  throw new I2lError(
    'MODEL_MISMATCH',
    `${expert.path}: this expert reads embeddings of ${expert.config.width} values, and ${whose} give ${width}.`,
    { file: expert.path, expected: expert.config.width, got: width },
  );
}

function identityOf(checkpoint: Checkpoint): Pick<OpenExpert, 'fingerprint' | 'contentId' | 'path' | 'synthetic'> {
  return {
    fingerprint: checkpoint.fingerprint(),
    contentId: contentId(checkpoint),
    path: checkpoint.path,
    synthetic: checkpoint.files.some(({ metadata }) => 'synthetic' in metadata),
  };
}
