import type { TensorMap } from '../../main/contract/tensor.ts';
import { readInto } from '../../main/offload/placed-reads.ts';
import { feedsFrom, layOut, viewsOf } from '../../main/offload/weight-buffer.ts';
import type { BuiltGraph } from '../../main/onnx/graph.ts';

/** A graph's weights, where it takes them as inputs. */
export function fedTo({ weights }: BuiltGraph): TensorMap {
  const fed = weights.filter(({ input }) => input);
  const layout = layOut(fed);
  const buffer = new ArrayBuffer(layout.bytes);
  readInto(buffer, layout.reads);
  return feedsFrom(viewsOf(fed, layout), buffer);
}
