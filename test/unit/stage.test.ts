import { describe, expect, test } from 'vitest';
import { joinStages, neededAfter, outputName, stageCosts, type Stage } from '../../main/offload/stage.ts';
import { IMAGES, type Graph, type Value } from '../../main/onnx/graph.ts';
import { Session } from '../../main/onnx/runtime.ts';

/** a -> b = a + 1; a, b -> c = a * b, emitted b; c -> emitted c + 1 */
const port = (name: string) => ({ name, value: (g: Graph): Value => g.input(name, [IMAGES, 2]) });
const one = (g: Graph): Value => g.constant(Float32Array.of(1, 1), [1, 2]);
const stages: readonly Stage[] = [
  { id: 'first', takes: [port('a')], build: (g, take) => ({ state: { b: g.add(take('a'), one(g)) } }) },
  {
    id: 'second',
    takes: [port('a'), port('b')],
    build: (g, take) => ({ state: { c: g.mul(take('a'), take('b')) }, emit: { seen: take('b') } }),
  },
  { id: 'third', takes: [port('c')], build: (g, take) => ({ emit: { done: g.add(take('c'), one(g)) } }) },
];
const a = { data: Float32Array.of(1, 2, 3, 4), dims: [2, 2] };

/** Runs the stages in groups, passing the state on as the executor does. */
async function runIn(...groups: readonly (readonly [first: number, count: number])[]): Promise<Record<string, unknown>> {
  const state: Record<string, typeof a> = { a };
  const emitted: Record<string, unknown> = {};
  for (const [first, count] of groups) {
    const { graph, takes, keeps, emits } = joinStages(stages.slice(first, first + count), neededAfter(stages)(first + count - 1));
    const session = await Session.create(graph.build(), { device: 'cpu', threads: 1 });
    const results = await session.run(Object.fromEntries(takes.map((name) => [name, state[name] as typeof a])));
    await session.release();
    for (const name of keeps) state[name] = results[outputName(name)] as typeof a;
    for (const name of emits) emitted[name] = results[name];
  }
  return emitted;
}

describe('joined stages answer as single ones', () => {
  const wanted = {
    seen: { data: Float32Array.of(2, 3, 4, 5), dims: [2, 2] },
    done: { data: Float32Array.of(3, 7, 13, 21), dims: [2, 2] },
  };
  test.each([
    ['one by one', [[0, 1], [1, 1], [2, 1]]],
    ['the first two', [[0, 2], [2, 1]]],
    ['the last two', [[0, 1], [1, 2]]],
    ['all', [[0, 3]]],
  ] as const)('%s', async (_name, groups) => {
    expect(await runIn(...groups)).toEqual(wanted);
  }); // prettier-ignore
});

test('a group takes what comes from outside it and keeps what is needed after it', () => {
  const edges = (first: number, count: number): object => {
    const { takes, keeps, emits } = joinStages(stages.slice(first, first + count), neededAfter(stages)(first + count - 1));
    return { takes, keeps, emits };
  };
  expect(edges(0, 1)).toEqual({ takes: ['a'], keeps: ['b'], emits: [] });
  expect(edges(0, 2)).toEqual({ takes: ['a'], keeps: ['c'], emits: ['seen'] });
  expect(edges(1, 2)).toEqual({ takes: ['a', 'b'], keeps: [], emits: ['seen', 'done'] });
  expect([...neededAfter(stages)(0)].sort()).toEqual(['a', 'b', 'c']);
  expect(neededAfter(stages)(2)).toEqual(new Set());
});

test('a stage that wants what it does not take is named', () => {
  const lost: Stage = { id: 'lost', takes: [], build: (_g, take) => ({ emit: { x: take('y') } }) };
  expect(() => joinStages([lost], new Set())).toThrow(/lost wants "y"/);
});

test('costs of each stage by itself', () => {
  expect(stageCosts(stages).map(({ id, stateBytes, results }) => ({ id, stateBytes, results }))).toEqual([
    { id: 'first', stateBytes: 8, results: { fixed: 0, perImage: 8 } },
    { id: 'second', stateBytes: 16, results: { fixed: 0, perImage: 16 } },
    { id: 'third', stateBytes: 8, results: { fixed: 0, perImage: 8 } },
  ]);
});

test('state that waits for a later stage counts while others run, and goes with its last use', () => {
  const [first, , last] = stages as [Stage, Stage, Stage];
  const between: Stage = { id: 'between', takes: [port('b')], build: (g, take) => ({ state: { c: g.add(take('b'), one(g)) } }) };
  const again: Stage = {
    ...last,
    takes: [port('c'), port('a')],
    build: (g, take) => ({ emit: { done: g.add(take('c'), take('a')) } }),
  };
  const bytes = stageCosts([first, between, again, { ...last, id: 'end' }]).map(({ stateBytes }) => stateBytes);
  // a; a and b; a and c; c
  expect(bytes).toEqual([8, 16, 16, 8]);
});
