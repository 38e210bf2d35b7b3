import type { ByteRange } from '../contract/tensor.ts';
import type { ElementType } from './proto.ts';

/**
 * How a graph comes by its weights. 'mapped': they are external data, a file, an offset and a length within the
 * downloaded checkpoint itself, that the runtime maps into memory. 'fed': they are inputs, bytes that whoever runs it has
 * read from there; one session then serves all graphs of its kind.
 */
export type WeightsAs = 'mapped' | 'fed';

/** A weight of a finished graph. */
export interface GraphWeight {
  readonly range: ByteRange;
  /** The graph's input that takes its bytes, and their type; absent where the runtime finds them in the file itself. */
  readonly input?: { readonly name: string; readonly type: ElementType };
}

/** A finished graph: the model's bytes, and the folder that its weights' paths are relative to. */
export interface BuiltGraph {
  /** Says nothing of the weights where they are inputs: graphs made alike are then the same bytes. */
  readonly model: Uint8Array;
  readonly weightsFolder: string | undefined;
  /** In the order of their making; the same bytes are there once for each shape in which the graph takes them. */
  readonly weights: readonly GraphWeight[];
  /** What the caller calls the results, in the model's order. */
  readonly outputs: readonly string[];
  /** Nodes between f16 and f32: for a device that has no f16, the CPU runs them. */
  readonly halfCasts: readonly string[];
}

/** What the model calls its results: the caller's names would make graphs of one kind differ. */
export const outputAt = (at: number): string => `output_${at}`;
