import { chainBytes } from '../linear/chain-runner.ts';
import { isRunnable, type LinearChain } from '../linear/chain.ts';
import { mostOf, type Amount, type GraphCost } from '../onnx/cost.ts';
import { bytesOf } from '../onnx/dims.ts';
import { Graph, type GraphOptions, type Value } from '../onnx/graph.ts';

/**
 * A network is an ordered list of stages. Between stages flows the state: named tensors, one row (or
 * block of rows) an image. A stage takes what it needs of it, gives back what it changes, and may emit
 * results that leave the network.
 */
export interface Stage {
  /** What the user sees and an error names, e.g. 'dinov3 layer 7 mlp'. */
  readonly id: string;
  /** Shapes of the state it reads, by name; the first dimension is the images. */
  readonly takes: readonly Port[];
  /** Its weights have no copies in 8 bits: what those lose would show in the results most here. */
  readonly isSensitive?: boolean;
  /**
   * It can be computed in as many shares as divide this number: of what it does to the state, graphs with a share each give
   * parts that add up. Absent: as a whole alone.
   */
  readonly parts?: number;
  /** It is these chains and nothing else, see chain-stage.ts. */
  readonly chains?: readonly LinearChain[];
  readonly build: (graph: Graph, take: (name: string) => Value) => StageResult;
}

export interface Port {
  readonly name: string;
  readonly value: (graph: Graph) => Value;
}

export interface StageResult {
  /** State for the stages after this one. */
  readonly state?: Readonly<Record<string, Value>>;
  /** Results that leave, by name. */
  readonly emit?: Readonly<Record<string, Value>>;
}

/** Stages that run as one graph: built one after another, the state passed on inside. */
export interface StageGraph {
  readonly graph: Graph;
  readonly takes: readonly string[];
  readonly keeps: readonly string[];
  readonly emits: readonly string[];
  /** The state that it takes or gives, as it leaves it. */
  readonly state: ReadonlyMap<string, Value>;
  /** What it gives of the state is a share's, where the options name one. */
  readonly hasParts: boolean;
}

const WHOLE: GraphOptions = { fusedAttention: true };

/**
 * Puts consecutive stages into one graph.
 * @param needed state that later stages take; what nobody takes again is not given back.
 * @param options a share counts where there is one stage, and it has parts
 */
export function joinStages(stages: readonly Stage[], needed: ReadonlySet<string>, options?: GraphOptions): StageGraph {
  const hasParts = stages.length === 1 && stages[0]?.parts !== undefined;
  const graph = new Graph(hasParts ? options : { ...WHOLE, ...options, share: undefined });
  const state = new Map<string, Value>();
  const takes: string[] = [];
  const changed = new Set<string>();
  const emits: string[] = [];
  for (const stage of stages) {
    for (const port of stage.takes) {
      if (state.has(port.name)) continue;
      state.set(port.name, port.value(graph));
      takes.push(port.name);
    }
    const result = stage.build(graph, (name) => required(state.get(name), stage.id, name));
    for (const [name, value] of Object.entries(result.state ?? {})) {
      state.set(name, value);
      changed.add(name);
    }
    for (const [name, value] of Object.entries(result.emit ?? {})) {
      graph.output(name, value);
      emits.push(name);
    }
  }
  const keeps = [...changed].filter((name) => needed.has(name));
  for (const name of keeps) graph.output(outputName(name), required(state.get(name), 'the join', name));
  return { graph, takes, keeps, emits, state, hasParts };
}

function required(value: Value | undefined, stage: string, name: string): Value {
  if (!value) throw new RangeError(`${stage} wants "${name}", which no stage before it gives`);
  return value;
}

/** A graph's input and output may not share a name; the state's outputs carry a mark. */
export function outputName(stateName: string): string {
  return `${stateName}'`;
}

export interface StageCost extends GraphCost {
  readonly id: string;
  /** The stage whose state it takes, the last of them; -1: it takes nothing that a stage before it changed. */
  readonly waitsFor: number;
  /** Bytes of one image's state while it runs: what it takes, and what waits for stages behind it. */
  readonly stateBytes: number;
  readonly parts?: number | undefined;
  /** Of a stage of chains that can be run without the runtime: what they take beside their weights. */
  readonly chainBytes?: Amount | undefined;
}

/** What each stage costs, read off the graph that it builds; with a share among the options, what that costs of one that has parts. */
export function stageCosts(stages: readonly Stage[], options?: GraphOptions): StageCost[] {
  const needed = neededAfter(stages);
  const known = new Map<string, GraphCost>();
  const built = stages.map((stage, i) => buildAlone(stage, needed(i), options, known));
  const state = stateBytes(built, needed);
  const changedBy = new Map<string, number>();
  return built.map(({ id, parts, chainBytes, taken, kept, cost }, i) => {
    const waitsFor = Math.max(-1, ...[...taken.keys()].map((name) => changedBy.get(name) ?? -1));
    for (const name of kept.keys()) changedBy.set(name, i);
    return { id, parts, chainBytes, waitsFor, stateBytes: state[i] as number, ...cost };
  });
}

interface BuiltStage {
  readonly id: string;
  readonly parts: number | undefined;
  readonly chainBytes: Amount | undefined;
  /** Bytes of one image's state that it takes, by name. */
  readonly taken: ReadonlyMap<string, number>;
  /** And that it gives to stages behind it. */
  readonly kept: ReadonlyMap<string, number>;
  readonly cost: GraphCost;
}

/** With products in one piece a graph has a tenth of its nodes, and says as well which others are like it. */
const OUTLINE = { pieceValues: Number.MAX_SAFE_INTEGER };

/**
 * Layers of a kind differ in their weights' places alone: the first is built as it will run, the others in outline.
 * @param known costs of the stages before it, by their graphs' likeness
 */
function buildAlone(
  stage: Stage,
  needed: ReadonlySet<string>,
  options: GraphOptions | undefined,
  known: Map<string, GraphCost>,
): BuiltStage {
  const { graph, keeps, state } = joinStages([stage], needed, { ...WHOLE, ...options, ...OUTLINE });
  const { likeness, ranges } = graph;
  const cost = known.get(likeness) ?? joinStages([stage], needed, options).graph.cost();
  known.set(likeness, cost);
  return {
    id: stage.id,
    parts: stage.parts,
    chainBytes: stage.chains?.every(isRunnable) ? mostOf(stage.chains.map(chainBytes)) : undefined,
    taken: new Map(stage.takes.map(({ name, value }) => [name, bytesOf(value(new Graph()))])),
    kept: new Map(keeps.map((name) => [name, bytesOf(required(state.get(name), stage.id, name))])),
    cost: { ...cost, weights: ranges },
  };
}

/** One image's state while each stage runs: what no stage gives is there from the start, all goes with its last use. */
function stateBytes(built: readonly BuiltStage[], needed: (i: number) => ReadonlySet<string>): number[] {
  const given = new Set<string>();
  const held = new Map<string, number>();
  for (const { taken, kept } of built) {
    for (const [name, bytes] of taken) if (!given.has(name)) held.set(name, bytes);
    for (const name of kept.keys()) given.add(name);
  }
  return built.map(({ kept }, i) => {
    const bytes = [...held.values()].reduce((sum, own) => sum + own, 0);
    for (const name of held.keys()) if (!needed(i).has(name)) held.delete(name);
    for (const [name, own] of kept) held.set(name, own);
    return bytes;
  });
}

/** State that a stage after the i-th takes. */
export function neededAfter(stages: readonly Stage[]): (i: number) => ReadonlySet<string> {
  const lastTaken = new Map<string, number>();
  stages.forEach((stage, i) => stage.takes.forEach(({ name }) => lastTaken.set(name, i)));
  return (i) => new Set([...lastTaken].filter(([, last]) => last > i).map(([name]) => name));
}
