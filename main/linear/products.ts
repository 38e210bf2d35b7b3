import {
  encodeModule,
  F32,
  f32,
  f32x4,
  get,
  I32,
  i32,
  i32x4,
  i64,
  set,
  V128,
  v128,
  whileLess,
  type Code,
  type Local,
  type WasmFunction,
  type WasmType,
} from './wasm-code.ts';

/**
 * Products of bf16 weights as they lie in a file with f32 activations of a few images, in WebAssembly: a runtime casts the
 * weights first, which takes longer than to multiply them. A bf16 value is the upper half of an f32. So of a vector with
 * eight of them, those at odd places are its 32-bit values without their lower halves, and those at even places the same
 * shifted; activations lie as {@link arrangedPlace} says, to meet them.
 *
 * Each product is summed up in the same order whatever else is computed beside it: an image's results don't depend on how
 * many images there are.
 */
const BLOCK = 8;
/** Sums in registers: x64 has 16, and needs eight sums at a time to have none of them wait for the one before. */
const MOST_SUMS = 10;
/** Images that a weight is multiplied with once it is loaded. */
export const MOST_IMAGES = 5;
const MOST_ROWS = 4;
const UPPER_HALF = 0xffff0000 | 0;

/** Where the activation that belongs to a weight's column is: of each eight, the even ones are first. The rest behind stays. */
export function arrangedPlace(column: number, columns: number): number {
  const within = column % BLOCK;
  return column - within + BLOCK > columns ? column : column - within + (within >> 1) + (within & 1) * (BLOCK / 2);
}

/**
 * y[image, row] = sum over columns of weight[row, column] * x[image, column], all by their first bytes in memory.
 * @param yStride bytes from one image's results to the next one's
 */
export type Product = (weight: number, x: number, y: number, rows: number, yStride: number) => void;
/**
 * Values times a factor, rounded to the nearest bf16.
 * @param count a multiple of 8; @param to may be where they are. @returns 1 if one of them is not finite, else 0
 */
export type Round = (from: number, factor: number, to: number, count: number) => number;
/** Copies blocks that lie one after another to where each begins so many bytes behind the last one. */
export type Scatter = (from: number, to: number, blocks: number, stride: number) => void;

/** Multiplies a matrix of so many columns with so many images, at most {@link MOST_IMAGES}. */
export function makeProduct(columns: number, images: number, memory: WebAssembly.Memory): Product {
  return makeFunction(productFunction(columns, images, hasRelaxedMadd()), memory) as Product;
}

export function makeRound(memory: WebAssembly.Memory): Round {
  return makeFunction(roundFunction(), memory) as Round;
}

/** @param values of 16 bits that a block has */
export function makeScatter(values: number, memory: WebAssembly.Memory): Scatter {
  return makeFunction(scatterFunction(values), memory) as Scatter;
}

function makeFunction(made: WasmFunction, memory: WebAssembly.Memory): unknown {
  const module = new WebAssembly.Module(encodeModule([made]));
  return new WebAssembly.Instance(module, { host: { memory } }).exports[made.name];
}

type MultiplyAdd = (a: Code, b: Code, sum: Code) => Code;

/** Whether this engine can multiply and add in one instruction. */
export function hasRelaxedMadd(): boolean {
  const vectors = v128.load(get(0));
  const code = v128.store(get(0), f32x4.relaxedMadd(vectors, vectors, vectors));
  return WebAssembly.validate(encodeModule([{ name: 'probe', parameters: [I32], variables: [], code }]));
}

/** @param isRelaxed with the instruction that not every engine has */
export function productFunction(columns: number, images: number, isRelaxed: boolean): WasmFunction {
  const variables: WasmType[] = [];
  const variable = (type: WasmType): Local => 5 + variables.push(type) - 1;
  const [weight, x, y, rows, yStride] = [0, 1, 2, 3, 4];
  const rowsAtOnce = Math.min(MOST_ROWS, Math.floor(MOST_SUMS / images));
  const tile: Tile = {
    ...{ columns, images, weight, x, y, yStride },
    madd: isRelaxed ? f32x4.relaxedMadd : (a, b, sum) => f32x4.add(f32x4.mul(a, b), sum),
    ...{ weightAt: variable(I32), xAt: variable(I32), yAt: variable(I32), end: variable(I32) },
    ...{ even: variable(V128), odd: variable(V128), upperHalf: variable(V128) },
    sums: Array.from({ length: rowsAtOnce * images }, () => variable(V128)),
  };
  const [wholeEnd, end] = [variable(I32), variable(I32)];
  const rowBytes = i32.const(2 * columns);
  const wholeRows = i32.mul(i32.divide(get(rows), i32.const(rowsAtOnce)), i32.const(rowsAtOnce));
  const code = [
    ...set(tile.upperHalf, i32x4.const(UPPER_HALF)),
    ...set(wholeEnd, i32.add(get(weight), i32.mul(wholeRows, rowBytes))),
    ...set(end, i32.add(get(weight), i32.mul(get(rows), rowBytes))),
    ...whileLess(get(weight), get(wholeEnd), rowsCode(tile, rowsAtOnce)),
    ...whileLess(get(weight), get(end), rowsCode(tile, 1)),
  ];
  return { name: 'product', parameters: [I32, I32, I32, I32, I32], variables, code };
}

/** What the code for some rows and all images works with. */
interface Tile {
  readonly columns: number;
  readonly images: number;
  readonly madd: MultiplyAdd;
  /** First bytes of the rows that are next, of the activations and of the results. */
  readonly weight: Local;
  readonly x: Local;
  readonly y: Local;
  readonly yStride: Local;
  /** Places on the way through the rows, and where the last whole block ends. */
  readonly weightAt: Local;
  readonly xAt: Local;
  readonly yAt: Local;
  readonly end: Local;
  /** Eight weights as f32. */
  readonly even: Local;
  readonly odd: Local;
  readonly upperHalf: Local;
  /** Four each, of each row with each image. */
  readonly sums: readonly Local[];
}

/** Multiplies the next rows, and goes on behind them. */
function rowsCode(tile: Tile, rows: number): Code {
  const { columns, weight, x, y, weightAt, xAt, end } = tile;
  const wholeBytes = 2 * (columns - (columns % BLOCK));
  return [
    ...tile.sums.flatMap((sum) => set(sum, i32x4.const(0))),
    ...set(weightAt, get(weight)),
    ...set(xAt, get(x)),
    ...set(end, i32.add(get(weight), i32.const(wholeBytes))),
    ...whileLess(get(weightAt), get(end), blockCode(tile, rows)),
    ...resultsCode(tile, rows),
    ...set(weight, i32.add(get(weight), i32.const(2 * columns * rows))),
    ...set(y, i32.add(get(y), i32.const(4 * rows))),
  ];
}

/** Eight columns. */
function blockCode(tile: Tile, rows: number): Code {
  const { columns, images, madd, weightAt, xAt, even, odd, upperHalf } = tile;
  const code: number[] = [];
  for (let row = 0; row < rows; row++) {
    code.push(...set(odd, v128.load(get(weightAt), 2 * columns * row)));
    code.push(...set(even, i32x4.shiftLeft(get(odd), i32.const(16))));
    code.push(...set(odd, v128.and(get(odd), get(upperHalf))));
    for (let image = 0; image < images; image++) {
      const sum = sumOf(tile, row, image);
      const at = 4 * columns * image;
      code.push(...set(sum, madd(get(even), v128.load(get(xAt), at), get(sum))));
      code.push(...set(sum, madd(get(odd), v128.load(get(xAt), at + 16), get(sum))));
    }
  }
  code.push(...set(weightAt, i32.add(get(weightAt), i32.const(2 * BLOCK))));
  return [...code, ...set(xAt, i32.add(get(xAt), i32.const(4 * BLOCK)))];
}

/** Adds up each sum's four values and the columns behind the last whole block, and stores them. */
function resultsCode(tile: Tile, rows: number): Code {
  const { images, y, yStride, yAt } = tile;
  const code: number[] = [...set(yAt, get(y))];
  for (let image = 0; image < images; image++) {
    for (let row = 0; row < rows; row++) {
      const sum = sumOf(tile, row, image);
      code.push(...set(sum, f32x4.add(get(sum), f32x4.shuffle(get(sum), get(sum), [2, 3, 2, 3]))));
      const whole = f32.add(f32x4.lane(get(sum), 0), f32x4.lane(get(sum), 1));
      code.push(...f32.store(get(yAt), [...whole, ...restCode(tile, row, image)], 4 * row));
    }
    code.push(...set(yAt, i32.add(get(yAt), get(yStride))));
  }
  return code;
}

/** Adds to the f32 on the stack. */
function restCode({ columns, weight, x }: Tile, row: number, image: number): Code {
  const code: number[] = [];
  for (let column = columns - (columns % BLOCK); column < columns; column++) {
    const bits = i32.load16(get(weight), 2 * (columns * row + column));
    const value = f32.ofBits(i32.shiftLeft(bits, i32.const(16)));
    code.push(...f32.add(f32.mul(value, f32.load(get(x), 4 * (columns * image + column)))));
  }
  return code;
}

function sumOf({ sums, images }: Tile, row: number, image: number): Local {
  return sums[row * images + image] as Local;
}

/** As the runtime's Cast: to the nearest, of two as near to the even one. No number stays none. */
function roundFunction(): WasmFunction {
  const [from, factor, to, count] = [0, 1, 2, 3];
  const [end, factors, value, first, reached] = [4, 5, 6, 7, 8];
  const upper = (bits: Code): Code => i32x4.shiftRight(bits, i32.const(16));
  const half = (offset: number): Code => {
    const bits = get(value);
    const lastKept = v128.and(upper(bits), i32x4.const(1));
    const nearest = upper(i32x4.add(i32x4.add(bits, i32x4.const(0x7fff)), lastKept));
    const product = f32x4.mul(v128.load(get(from), offset), get(factors));
    return [...set(value, product), ...v128.select(nearest, i32x4.const(0x7fc0), f32x4.equal(bits, bits))];
  };
  const body = [
    ...set(first, half(0)),
    ...set(first, i32x4.toU16(get(first), half(16))),
    ...v128.store(get(to), get(first)),
    // An exponent of all ones is an infinity or no number: one added to its lowest bit, it reaches the sign's place.
    ...set(reached, v128.or(get(reached), i32x4.add(v128.and(get(first), i32x4.const(0x7f807f80)), i32x4.const(0x00800080)))),
    ...set(from, i32.add(get(from), i32.const(4 * BLOCK))),
    ...set(to, i32.add(get(to), i32.const(2 * BLOCK))),
  ];
  const code = [
    ...set(factors, f32x4.splat(get(factor))),
    ...set(end, i32.add(get(from), i32.mul(get(count), i32.const(4)))),
    ...whileLess(get(from), get(end), body),
    ...v128.anyTrue(v128.and(get(reached), i32x4.const(0x80008000 | 0))),
  ];
  return { name: 'round', parameters: [I32, F32, I32, I32], result: I32, variables: [I32, V128, V128, V128, V128], code };
}

function scatterFunction(values: number): WasmFunction {
  const [from, to, blocks, stride, end] = [0, 1, 2, 3, 4];
  const bytes = i32.const(2 * values);
  const body = [...copyCode(to, from, values), ...set(from, i32.add(get(from), bytes)), ...set(to, i32.add(get(to), get(stride)))];
  const code = [...set(end, i32.add(get(from), i32.mul(get(blocks), bytes))), ...whileLess(get(from), get(end), body)];
  return { name: 'scatter', parameters: [I32, I32, I32, I32], variables: [I32], code };
}

/** In the largest steps that there are. */
function copyCode(to: Local, from: Local, values: number): Code {
  const code: number[] = [];
  let done = 0;
  for (const [size, load, store] of [[4, i64.load, i64.store], [2, i32.load, i32.store], [1, i32.load16, i32.store16]] as const) {
    for (; done + size <= values; done += size) code.push(...store(get(to), load(get(from), 2 * done), 2 * done));
  }
  return code;
} // prettier-ignore
