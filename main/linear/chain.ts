import type { TensorRange } from '../contract/tensor.ts';

/**
 * Linear layers one after another, from the state of a network to a result that leaves it. As data, since there are two
 * ways to compute it: as a graph of the runtime (offload/chain-stage.ts), and by {@link ChainRunner}.
 */
export interface LinearChain {
  /** What the result is called. */
  readonly name: string;
  /** The state that goes in, [images, in]. */
  readonly input: string;
  readonly layers: readonly [LinearLayer, ...LinearLayer[]];
  /** State that the result is multiplied by, one value an image: [images, 1]. */
  readonly factor?: string | undefined;
  /** Values of an image that lie together, and where the next image's lie: below them, or beside them. */
  readonly rank: number;
  readonly images: 'below' | 'beside';
  /** What the result is rounded to. */
  readonly dtype: 'F32' | 'F16' | 'BF16';
}

export interface LinearLayer {
  /** [out, in] */
  readonly weight: TensorRange;
  /** State that is added to what it gives, [images, out]. */
  readonly add?: string | undefined;
}

/** What a chain takes of the state. */
export function inputsOf({ input, layers, factor }: LinearChain): readonly string[] {
  return [input, ...layers.flatMap(({ add }) => add ?? []), ...(factor === undefined ? [] : [factor])];
}

/** Shape of the result of so many images: [images * rank, out / rank] or [out / rank, images * rank]. */
export function chainDims(chain: LinearChain, images: number): readonly [number, number] {
  const { rank } = chain;
  const others = outOf(lastOf(chain)) / rank;
  return chain.images === 'below' ? [images * rank, others] : [others, images * rank];
}

/** Bytes of the results of so many images, rounded to 16 bits, one behind another. */
export function resultBytes(chains: readonly LinearChain[], images: number): number {
  return chains.reduce((sum, chain) => sum + 2 * images * outOf(lastOf(chain)), 0);
}

/** Whether {@link ChainRunner} can compute it: what is added, graphs have made, and those can go on with it. */
export function isRunnable({ layers, dtype }: LinearChain): boolean {
  const isPlain = ({ weight, add }: LinearLayer): boolean =>
    weight.dtype === 'BF16' && weight.scale === undefined && add === undefined;
  return dtype === 'BF16' && layers.every(isPlain);
}

export function lastOf({ layers }: LinearChain): LinearLayer {
  return layers[layers.length - 1] as LinearLayer;
}

export function outOf({ weight: { shape } }: LinearLayer): number {
  return shape[0] ?? 0;
}

export function inOf({ weight: { shape } }: LinearLayer): number {
  return shape[1] ?? 0;
}
