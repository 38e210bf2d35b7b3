import type { LinearChain } from '../linear/chain.ts';
import { IMAGES, type Graph, type Value } from '../onnx/graph.ts';
import type { Port, Stage } from './stage.ts';

/** A stage that is chains of linear layers and nothing else: it can be run without the runtime. */
export function chainStage(id: string, takes: readonly Port[], chains: readonly LinearChain[]): Stage {
  return { id, takes, chains, build: (g, take) => ({ emit: chainResults(g, take, chains) }) };
}

/** What chains give, by their names, as parts of a stage's graph. */
export function chainResults(g: Graph, take: (name: string) => Value, chains: readonly LinearChain[]): Record<string, Value> {
  return Object.fromEntries(chains.map((chain) => [chain.name, chainResult(g, take, chain)]));
}

function chainResult(g: Graph, take: (name: string) => Value, chain: LinearChain): Value {
  const { input, layers, factor, rank, dtype } = chain;
  let value = take(input);
  for (const { weight, add } of layers) {
    value = g.linear(value, weight);
    if (add !== undefined) value = g.add(value, take(add));
  }
  if (factor !== undefined) value = g.mul(value, take(factor));
  const others = Number(value.dims[1]) / rank;
  if (chain.images === 'below') return g.store(g.reshape(value, [{ perImage: rank }, others]), dtype);
  const ranksLast = g.transpose(g.reshape(value, [IMAGES, others, rank]), [1, 0, 2]);
  return g.store(g.reshape(ranksLast, [others, { perImage: rank }]), dtype);
}
