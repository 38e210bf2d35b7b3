/**
 * Qwen2.5-VL's language model as an encoder: the prompt's tokens, the picture's among them, to the hidden
 * states after the final norm. Pre-norm transformer with RMS norms, grouped-query attention, rotary
 * positions of three axes, SwiGLU. Bai et al. 2025, https://arxiv.org/abs/2502.13923, section 2.1.3.
 */
import { rowsOf, type TensorRange } from '../contract/tensor.ts';
import { triple } from '../onnx/dims.ts';
import { IMAGES, type Graph, type Value } from '../onnx/graph.ts';
import type { Stage } from '../offload/stage.ts';
import { DROPPED_TOKENS, type Prompt } from './qwen25vl-prompt.ts';
import type { Picture, RopeTables } from './qwen25vl-vision.ts';
import type { Qwen25vlConfig } from './qwen25vl.ts';
import { linear, type Linear, type Scope } from './scope.ts';

interface Layer {
  readonly norm1: TensorRange;
  readonly q: Linear;
  readonly k: Linear;
  readonly v: Linear;
  readonly out: TensorRange;
  readonly norm2: TensorRange;
  readonly gate: TensorRange;
  readonly up: TensorRange;
  readonly down: TensorRange;
}
export interface DecoderWeights {
  /** [vocabulary, width]; only the prompt's rows are ever read. */
  readonly tokens: TensorRange;
  readonly layers: readonly Layer[];
  readonly norm: TensorRange;
}

function layer(scope: Scope, { width, keyValueWidth, mlpWidth }: Qwen25vlConfig): Layer {
  const [attention, mlp] = [scope.at('self_attn'), scope.at('mlp')];
  return {
    norm1: scope.tensor('input_layernorm.weight', [width]),
    q: linear(attention.at('q_proj'), width, width),
    k: linear(attention.at('k_proj'), width, keyValueWidth),
    v: linear(attention.at('v_proj'), width, keyValueWidth),
    out: attention.tensor('o_proj.weight', [width, width]),
    norm2: scope.tensor('post_attention_layernorm.weight', [width]),
    gate: mlp.tensor('gate_proj.weight', [mlpWidth, width]),
    up: mlp.tensor('up_proj.weight', [mlpWidth, width]),
    down: mlp.tensor('down_proj.weight', [width, mlpWidth]),
  };
}

export function readDecoder(scope: Scope, config: Qwen25vlConfig): DecoderWeights {
  const { vocabulary, width, layers } = config;
  return {
    tokens: scope.tensor('embed_tokens.weight', [vocabulary, width]),
    layers: Array.from({ length: layers }, (_, i) => layer(scope.at('layers').at(i), config)),
    norm: scope.tensor('norm.weight', [width]),
  };
}

/**
 * The angle of every token and pair of channels. A word's place is the same on all three axes; a picture's
 * tokens share a time and have rows and columns from there on; the words after it go on past its longer
 * side. Of a head's pairs the first turn with time, the next with the row, the last with the column:
 * transformers' Qwen2_5_VLModel.get_rope_index and Qwen2_5_VLRotaryEmbedding.
 * @returns for the prompts of all pictures, one after another
 */
export function decoderRope(
  pictures: readonly Picture[],
  prompt: Prompt,
  { width, heads, ropeTheta, ropeSections: [time, row] }: Qwen25vlConfig,
): RopeTables {
  const pairs = width / heads / 2;
  const places = pictures.flatMap(({ grid }) => placesOf(grid, prompt));
  const cos = new Float32Array(places.length * pairs);
  const sin = new Float32Array(places.length * pairs);
  places.forEach((place, token) => {
    for (let pair = 0; pair < pairs; pair++) {
      const axis = pair < time ? 0 : pair < time + row ? 1 : 2;
      const angle = (place[axis] ?? 0) / ropeTheta ** (pair / pairs);
      cos[token * pairs + pair] = Math.cos(angle);
      sin[token * pairs + pair] = Math.sin(angle);
    }
  });
  return { cos, sin };
}

/** Time, row and column of every token of one picture's prompt. */
function placesOf(grid: number, { before: { length: start }, after }: Prompt): (readonly [number, number, number])[] {
  const word = (at: number): readonly [number, number, number] => [at, at, at];
  return [
    ...Array.from({ length: start }, (_, i) => word(i)),
    ...Array.from({ length: grid * grid }, (_, i) => [start, start + Math.floor(i / grid), start + (i % grid)] as const),
    ...after.map((_, i) => word(start + grid + i)),
  ];
}

/** Tokens of a picture's whole prompt. */
export function promptLength({ grid }: Picture, { before, after }: Prompt): number {
  return before.length + grid * grid + after.length;
}

/** A picture with the name of what comes out for it. */
export interface NamedPicture extends Picture {
  readonly name: string;
}

/**
 * @returns stages from state `image` [n, tokens of all pictures, width] to a result by each picture's name:
 * [n, tokens of its prompt - 64, width]
 */
export function decoderStages(
  w: DecoderWeights,
  config: Qwen25vlConfig,
  pictures: readonly NamedPicture[],
  prompt: Prompt,
): readonly Stage[] {
  const { width, epsilon } = config;
  const rope = decoderRope(pictures, prompt, config);
  const lengths = pictures.map((picture) => promptLength(picture, prompt));
  const tokens = pictures.reduce((sum, { grid }) => sum + grid * grid, 0);
  const image = { name: 'image', value: (g: Graph) => g.input('image', [IMAGES, tokens, width]) };
  const all = lengths.reduce((sum, length) => sum + length, 0);
  const hidden = { name: 'hidden', value: (g: Graph) => g.input('hidden', [IMAGES, all, width]) };
  const within = (id: string, parts: number, step: (g: Graph, x: Value) => Value): Stage => ({
    id: `qwen2.5-vl ${id}`,
    takes: [hidden],
    parts,
    build: (g, take) => ({ state: { hidden: g.residual(take('hidden'), step(g, take('hidden'))) } }),
  });
  const reading: Stage = {
    id: 'qwen2.5-vl prompt',
    takes: [image],
    build: (g, take) => ({ state: { hidden: read(g, take('image'), w.tokens, pictures, prompt) } }),
  };
  const last: Stage = {
    id: 'qwen2.5-vl final norm',
    takes: [hidden],
    build: (g, take) => {
      const kept = cut(g, take('hidden'), lengths).map((x, i) => g.slice(x, 1, DROPPED_TOKENS, lengths[i] ?? 0));
      return { emit: Object.fromEntries(pictures.map(({ name }, i) => [name, g.rmsNorm(kept[i] as Value, w.norm, epsilon)])) };
    },
  };
  return [
    reading,
    ...w.layers.flatMap((layer, i) => [
      within(`layer ${i} attention`, keyHeadsOf(config), (g, x) => attend(g, x, layer, lengths, rope, config)),
      within(`layer ${i} mlp`, config.mlpWidth, (g, x) => {
        const normed = g.rmsNorm(x, layer.norm2, epsilon);
        return g.collect(g.swiglu(g.spread(normed, layer.gate), g.spread(normed, layer.up)), layer.down);
      }),
    ]),
    last,
  ];
}

/** Each picture within its prompt: [n, tokens, width] -> [n, tokens and words, width]. */
function read(g: Graph, image: Value, table: TensorRange, pictures: readonly Picture[], { before, after }: Prompt): Value {
  const [opening, closing] = [words(g, table, before, image), words(g, table, after, image)];
  const parts = pictures.flatMap(({ grid, first }) => [opening, g.slice(image, 1, first, first + grid * grid), closing]);
  return g.concat(parts, 1);
}

/** Sequences of these lengths, which lie one after another. */
function cut(g: Graph, x: Value, lengths: readonly number[]): Value[] {
  let from = 0;
  return lengths.map((length) => {
    const part = g.slice(x, 1, from, from + length);
    from += length;
    return part;
  });
}

/** Rows of the token table, each read where it lies; the same for every picture: [n, ids, width]. */
function words(g: Graph, table: TensorRange, ids: readonly number[], like: Value): Value {
  const rows = g.concat(ids.map((id) => g.weight(rowsOf(table, id, 1))), 0); // prettier-ignore
  return g.repeat(g.reshape(rows, [1, ids.length, table.shape[1] ?? 0]), like);
}

function attend(g: Graph, x: Value, layer: Layer, lengths: readonly number[], rope: RopeTables, config: Qwen25vlConfig): Value {
  const { width, epsilon } = config;
  const [heads, keyHeads] = [g.ownOf(config.heads), g.ownOf(keyHeadsOf(config))];
  const normed = g.rmsNorm(x, layer.norm1, epsilon);
  const shape = [triple(x)[1], width / config.heads / 2];
  const [cos, sin] = [g.constant(rope.cos, shape), g.constant(rope.sin, shape)];
  const q = cut(g, g.rope(g.spread(normed, layer.q.weight, layer.q.bias), cos, sin, heads), lengths);
  const k = cut(g, g.rope(g.spread(normed, layer.k.weight, layer.k.bias), cos, sin, keyHeads), lengths);
  const v = cut(g, g.spread(normed, layer.v.weight, layer.v.bias), lengths);
  const shared = (part: Value | undefined): Value => shareHeads(g, part as Value, keyHeads, heads);
  const attended = q.map((part, i) => g.causalAttention(part, shared(k[i]), shared(v[i]), heads));
  return g.collect(g.concat(attended, 1), layer.out);
}

/** Heads of keys and values, fewer than of queries. */
function keyHeadsOf({ width, heads, keyValueWidth }: Qwen25vlConfig): number {
  return (keyValueWidth * heads) / width;
}

/** Each head of keys or values serves as many query heads that follow each other: [n, t, few * h] -> [n, t, heads * h]. */
function shareHeads(g: Graph, x: Value, few: number, heads: number): Value {
  const [, tokens, width] = triple(x);
  const head = width / few;
  const single = g.reshape(x, [IMAGES, tokens, few, 1, head]);
  const copies = g.concat(Array.from({ length: heads / few }, () => single), 3); // prettier-ignore
  return g.reshape(copies, [IMAGES, tokens, heads * head]);
}
