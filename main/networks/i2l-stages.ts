/**
 * Decoding with one expert or several side by side, and with static LoRAs beside them: all that goes into one
 * module of the LoRA is computed in one stage, so that the file is written module by module in one pass.
 */
import type { LoraModule } from '../lora/read-lora.ts';
import { factorName, type StoredDtype } from '../lora/write-lora.ts';
import type { LinearChain } from '../linear/chain.ts';
import { IMAGES, type Graph, type Value } from '../onnx/graph.ts';
import { chainResults, chainStage } from '../offload/chain-stage.ts';
import type { Port, Stage } from '../offload/stage.ts';
import type { BlockWeights, Decoder, I2lConfig } from './i2l.ts';

/** An expert that takes part. */
export interface ExpertPart {
  /** Marks its state and its results; of its own among the parts. */
  readonly name: string;
  readonly config: I2lConfig;
  /** Of the same target as the others'. */
  readonly blocks: readonly BlockWeights[];
}

/** A LoRA that is the same whatever the images are. */
export interface StaticPart {
  readonly name: string;
  readonly strength: number;
  /** By their paths; modules that it leaves out get no ranks of it. */
  readonly modules: ReadonlyMap<string, LoraModule>;
}

export interface I2lParts {
  readonly experts: readonly ExpertPart[];
  readonly statics: readonly StaticPart[];
}

/** What tokens are multiplied by before an expert sees them: `residual_scale` of the reference. */
const RESIDUAL_SCALE = 0.05;

/** State of one expert: what each image's A is multiplied by, [n, 1]. */
export const factorState = (part: string): string => `${part} factor`;
/** State of an expert with a residual: Qwen2.5-VL's tokens, [n, tokens, width]. */
export const tokensState = (part: string): string => `${part} tokens`;
/** What a part's share of a module's factor is called. */
export const partName = (module: string, factor: 'A' | 'B', part: string): string => `${factorName(module, factor)} ${part}`;

/**
 * From states `embedding` [n, width], `PART factor` and `PART tokens` to every part's factors of each module
 * in turn, in the type that the file stores: of an expert A [n * rank, in] and B [out, n * rank], the images'
 * ranks side by side; of a static LoRA A [rank, in] and B [out, rank]. All scale is in A.
 */
export function i2lStages({ experts, statics }: I2lParts, dtype: StoredDtype): readonly Stage[] {
  const [first] = experts;
  if (!first) throw new RangeError('an image-to-LoRA network without an expert');
  return first.blocks.flatMap(({ key, modules }, block) => [
    ...experts.flatMap((part) => residualStage(part, block)),
    ...modules.map(({ module }, at): Stage => {
      const id = `${key} ${module.path}`;
      const takes = [...new Map(experts.flatMap(portsOf).map((port) => [port.name, port])).values()];
      const chains = experts.flatMap((part) => moduleChains(part, block, at, dtype));
      if (statics.length === 0) return chainStage(id, takes, chains);
      const build: Stage['build'] = (g, take) => {
        const fixed = statics.map((part) => staticModule(g, part, module.path, dtype));
        return { emit: Object.assign(chainResults(g, take, chains), ...fixed) as Record<string, Value> };
      };
      return { id, takes, build };
    }),
  ]);
}

const residualState = (part: string): string => `${part} residual`;

function portsOf({ name, config }: ExpertPart): Port[] {
  const { width, compress, residual } = config;
  return [
    { name: 'embedding', value: (g) => g.input('embedding', [IMAGES, width]) },
    { name: factorState(name), value: (g) => g.input(factorState(name), [IMAGES, 1]) },
    ...(residual ? [{ name: residualState(name), value: (g: Graph) => g.input(residualState(name), [IMAGES, compress]) }] : []),
  ];
}

/** proj_out(flatten(proj_in(0.05 * tokens))): once for all modules of a block. */
function residualStage({ name, config, blocks }: ExpertPart, block: number): Stage[] {
  const { residual: sizes } = config;
  const weights = blocks[block];
  if (!sizes || !weights?.residual) return [];
  const { projIn, projOut } = weights.residual;
  const state = tokensState(name);
  return [
    {
      id: `${weights.key} residual of ${name}`,
      takes: [{ name: state, value: (g) => g.input(state, [IMAGES, sizes.tokens, sizes.width]) }],
      build: (g, take) => {
        const reduced = g.linear(take(state), projIn);
        const scaled = g.mul(reduced, g.constant(Float32Array.of(RESIDUAL_SCALE), [1]));
        return { state: { [residualState(name)]: g.linear(g.reshape(scaled, [IMAGES, sizes.tokens * sizes.reduced]), projOut) } };
      },
    },
  ];
}

/** A is scaled by each image's factor; what the images' ranks lie beside are its columns for B, its rows for A. */
function moduleChains({ name, config, blocks }: ExpertPart, block: number, at: number, dtype: StoredDtype): readonly LinearChain[] {
  const weights = blocks[block]?.modules[at];
  if (!weights) throw new RangeError(`${name} has no module ${at} in block ${block}`);
  const { module, a, b } = weights;
  const layers = ({ projIn, projOut }: Decoder): LinearChain['layers'] => [
    { weight: projIn, add: config.residual && residualState(name) },
    { weight: projOut },
  ];
  const common = { input: 'embedding', rank: config.rank, dtype } as const;
  return [
    { ...common, name: partName(module.path, 'A', name), layers: layers(a), factor: factorState(name), images: 'below' },
    { ...common, name: partName(module.path, 'B', name), layers: layers(b), images: 'beside' },
  ];
}

function staticModule(g: Graph, { name, strength, modules }: StaticPart, path: string, dtype: StoredDtype): Record<string, Value> {
  const module = modules.get(path);
  if (!module) return {};
  const a = g.mul(g.weight(module.a), g.constant(Float32Array.of(strength * module.scale), [1]));
  return {
    [partName(path, 'A', name)]: g.store(a, dtype),
    [partName(path, 'B', name)]: g.store(g.weight(module.b), dtype),
  };
}
