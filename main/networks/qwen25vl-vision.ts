/**
 * Qwen2.5-VL's vision tower: patches of 14 x 14 pixels to one token for every 2 x 2 of them. Pre-norm
 * transformer with RMS norms, SwiGLU, rotary positions in two dimensions, and attention within windows of
 * 112 x 112 pixels but for a few blocks that see the whole image.
 * Bai et al. 2025, https://arxiv.org/abs/2502.13923, section 2.1.1.
 */
import { rowsOf, viewOf, type TensorRange } from '../contract/tensor.ts';
import { triple } from '../onnx/dims.ts';
import { IMAGES, type Graph, type Value } from '../onnx/graph.ts';
import type { Stage } from '../offload/stage.ts';
import type { Qwen25vlConfig } from './qwen25vl.ts';
import { linear, type Linear, type Scope } from './scope.ts';

/** Sides that one token covers: 2 x 2 patches. */
export const MERGE = 2;
/** Patches that the merger joins into one token. */
const MERGED = MERGE * MERGE;
/** A film's frames go two at a time; a picture is there twice. */
export const TEMPORAL_PATCH = 2;
export const CHANNELS = 3;
/** Of all its norms; the published config.json has no say in it. */
const EPSILON = 1e-6;
const ROPE_THETA = 10_000;

export interface VisionLayer {
  readonly norm1: TensorRange;
  readonly qkv: Linear;
  readonly out: Linear;
  readonly norm2: TensorRange;
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;
}
export interface VisionWeights {
  /** [width, 3 * 2 * patch * patch] */
  readonly patch: TensorRange;
  readonly layers: readonly VisionLayer[];
  readonly norm: TensorRange;
  readonly merger: readonly [Linear, Linear];
}

function layer(scope: Scope, { visionWidth: width, visionMlpWidth }: Qwen25vlConfig): VisionLayer {
  const [attention, mlp] = [scope.at('attn'), scope.at('mlp')];
  return {
    norm1: scope.tensor('norm1.weight', [width]),
    qkv: linear(attention.at('qkv'), width, 3 * width),
    out: linear(attention.at('proj'), width, width),
    norm2: scope.tensor('norm2.weight', [width]),
    gate: linear(mlp.at('gate_proj'), width, visionMlpWidth),
    up: linear(mlp.at('up_proj'), width, visionMlpWidth),
    down: linear(mlp.at('down_proj'), visionMlpWidth, width),
  };
}

export function readVision(scope: Scope, config: Qwen25vlConfig): VisionWeights {
  const { visionWidth, patch, width } = config;
  const merger = scope.at('merger');
  const joined = MERGED * visionWidth;
  return {
    patch: scope.tensor('patch_embed.proj.weight', [visionWidth, CHANNELS, TEMPORAL_PATCH, patch, patch]),
    layers: Array.from({ length: config.visionLayers }, (_, i) => layer(scope.at('blocks').at(i), config)),
    norm: merger.tensor('ln_q.weight', [visionWidth]),
    merger: [linear(merger.at('mlp.0'), joined, joined), linear(merger.at('mlp.2'), joined, width)],
  };
}

/** A picture's place among the tokens of all pictures, which lie one after another, each row by row. */
export interface Picture {
  /** Tokens along a side. */
  readonly grid: number;
  /** Its first token. */
  readonly first: number;
}

/** Sequences of one length, one after another, within which patches see each other. */
export interface Run {
  readonly count: number;
  /** Patches of each. */
  readonly patches: number;
}

export interface WindowOrder {
  /** Tokens of all pictures as they lie in the tower's sequence: picture by picture, window by window. */
  readonly order: readonly number[];
  readonly windows: readonly Run[];
  /** Of whole pictures. */
  readonly pictures: readonly Run[];
}

/**
 * Puts tokens window by window, row by row within each; a picture's windows of one size together, the
 * largest first. The windows at the right and at the bottom are what is left over. (transformers leaves
 * each window where it lies in the picture; attention within it doesn't ask which comes first.)
 * @param side tokens along a side of a whole window
 */
export function windowOrder(pictures: readonly Picture[], side: number): WindowOrder {
  const order: number[] = [];
  const windows: Run[] = [];
  for (const picture of pictures) {
    const own = windowsOf(picture, side).sort((a, b) => b.length - a.length);
    order.push(...own.flat());
    for (const tokens of new Set(own.map(({ length }) => length)))
      windows.push({ count: own.filter(({ length }) => length === tokens).length, patches: MERGED * tokens });
  }
  return { order, windows, pictures: pictures.map(({ grid }) => ({ count: 1, patches: MERGED * grid * grid })) };
}

function windowsOf({ grid, first }: Picture, side: number): number[][] {
  const windows: number[][] = [];
  for (let top = 0; top < grid; top += side) {
    for (let left = 0; left < grid; left += side) {
      const window: number[] = [];
      for (let row = top; row < Math.min(grid, top + side); row++)
        for (let column = left; column < Math.min(grid, left + side); column++) window.push(first + row * grid + column);
      windows.push(window);
    }
  }
  return windows;
}

/** Cosines and sines of rotary positions, [tokens or patches, h / 2], row-major. */
export interface RopeTables {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/**
 * The angle of every patch and pair of channels: the row turns the first half of a head's pairs, the column
 * the second, by position / 10000^(4 j / h) for j < h / 4.
 * @param order as {@link windowOrder} gives it
 */
export function visionRope(pictures: readonly Picture[], order: readonly number[], headWidth: number): RopeTables {
  const quarter = headWidth / 4;
  const cos = new Float32Array(order.length * MERGED * 2 * quarter);
  const sin = new Float32Array(cos.length);
  let at = 0;
  for (const position of order.flatMap((token) => patchPlaces(pictures, token)).flat()) {
    for (let pair = 0; pair < quarter; pair++, at++) {
      const angle = position / ROPE_THETA ** ((4 * pair) / headWidth);
      cos[at] = Math.cos(angle);
      sin[at] = Math.sin(angle);
    }
  }
  return { cos, sin };
}

/** Row and column of a token's four patches within its picture. */
function patchPlaces(pictures: readonly Picture[], token: number): [number, number][] {
  const { grid, first } = pictures.findLast((picture) => picture.first <= token) as Picture;
  const [row, column] = [Math.floor((token - first) / grid), (token - first) % grid];
  return Array.from({ length: MERGED }, (_, i) => [MERGE * row + Math.floor(i / MERGE), MERGE * column + (i % MERGE)]);
}

/**
 * @returns stages from state `patches` [n, patches, 3 * 2 * patch^2] (all pictures', each in Qwen's order: the
 * four patches of a token follow each other) to state `image` [n, tokens, width], row by row
 */
export function visionStages(w: VisionWeights, config: Qwen25vlConfig, pictures: readonly Picture[]): readonly Stage[] {
  const { visionWidth, visionHeads, window, patch } = config;
  const layout = windowOrder(pictures, Math.floor(window / MERGE / patch));
  const rope = visionRope(pictures, layout.order, visionWidth / visionHeads);
  const count = layout.order.length * MERGED;
  const values = w.patch.shape.slice(1).reduce((product, size) => product * size, 1);
  const patches = { name: 'patches', value: (g: Graph) => g.input('patches', [IMAGES, count, values]) };
  const tower = { name: 'vision', value: (g: Graph) => g.input('vision', [IMAGES, count, visionWidth]) };
  const within = (i: number, half: string, parts: number, step: (g: Graph, x: Value) => Value): Stage => ({
    id: `qwen2.5-vl vision block ${i} ${half}`,
    takes: [tower],
    parts,
    // What is lost in the first block passes through all others.
    isSensitive: i === 0,
    build: (g, take) => ({ state: { vision: g.residual(take('vision'), step(g, take('vision'))) } }),
  });
  return [
    {
      id: 'qwen2.5-vl vision embeddings',
      takes: [patches],
      isSensitive: true,
      build: (g, take) => {
        const embedded = g.linear(take('patches'), viewOf(w.patch, [visionWidth, values]));
        return { state: { vision: inOrder(g, embedded, layout.order) } };
      },
    },
    ...w.layers.flatMap((layer, i) => {
      const runs = config.fullAttention.includes(i) ? layout.pictures : layout.windows;
      return [
        within(i, 'attention', visionHeads, (g, x) => attend(g, x, layer, runs, rope, config)),
        within(i, 'mlp', layer.down.weight.shape[1] ?? 1, (g, x) => transform(g, x, layer)),
      ];
    }),
    {
      id: 'qwen2.5-vl vision merger',
      takes: [tower],
      isSensitive: true,
      build: (g, take) => ({ state: { image: merge(g, take('vision'), w, layout.order) } }),
    },
  ];
}

/** [n, tokens * 4, width], with whole tokens moved. */
function inOrder(g: Graph, x: Value, order: readonly number[]): Value {
  const [, , width] = triple(x);
  const moved = g.rows(g.reshape(x, [IMAGES, order.length, MERGED * width]), order);
  return g.reshape(moved, x.dims);
}

function attend(
  g: Graph,
  x: Value,
  layer: VisionLayer,
  runs: readonly Run[],
  rope: RopeTables,
  { visionWidth: width, visionHeads: heads }: Qwen25vlConfig,
): Value {
  const normed = g.rmsNorm(x, layer.norm1, EPSILON);
  const part = (i: number): Value =>
    g.spread(normed, rowsOf(layer.qkv.weight, i * width, width), rowsOf(layer.qkv.bias, i * width, width));
  const shape = [triple(x)[1], width / heads / 2];
  const [cos, sin] = [g.constant(rope.cos, shape), g.constant(rope.sin, shape)];
  const own = g.ownOf(heads);
  const [q, k, v] = [g.rope(part(0), cos, sin, own), g.rope(part(1), cos, sin, own), part(2)];
  return g.collect(attendInRuns(g, q, k, v, own, runs), layer.out.weight, layer.out.bias);
}

/** Sequences of one length are to attention what images are: they don't see each other. */
function attendInRuns(g: Graph, q: Value, k: Value, v: Value, heads: number, runs: readonly Run[]): Value {
  const [, , width] = triple(q);
  let from = 0;
  const parts = runs.map(({ count, patches }) => {
    const to = from + count * patches;
    const cut = (x: Value): Value => g.reshape(g.slice(x, 1, from, to), [{ perImage: count }, patches, width]);
    const attended = g.reshape(g.attention(cut(q), cut(k), cut(v), heads), [IMAGES, to - from, width]);
    from = to;
    return attended;
  });
  return g.concat(parts, 1);
}

function transform(g: Graph, x: Value, layer: VisionLayer): Value {
  const normed = g.rmsNorm(x, layer.norm2, EPSILON);
  const gate = g.spread(normed, layer.gate.weight, layer.gate.bias);
  const up = g.spread(normed, layer.up.weight, layer.up.bias);
  return g.collect(g.swiglu(gate, up), layer.down.weight, layer.down.bias);
}

/** Four patches to one token, and the tokens back to where they lie in their picture. */
function merge(g: Graph, x: Value, { norm, merger: [first, second] }: VisionWeights, order: readonly number[]): Value {
  const [, , width] = triple(x);
  const joined = g.reshape(g.rmsNorm(x, norm, EPSILON), [IMAGES, order.length, MERGED * width]);
  const wide = g.geluExact(g.linear(joined, first.weight, first.bias));
  const places = new Array<number>(order.length);
  order.forEach((token, at) => (places[token] = at));
  return g.rows(g.linear(wide, second.weight, second.bias), places);
}
