/**
 * WebAssembly, as far as linear/products.ts needs it: each function gives the code of one instruction behind that of its
 * operands, and {@link encodeModule} makes a module of functions.
 *
 * Codes: https://webassembly.github.io/spec/core/appendix/index-instructions.html
 */
export type Code = readonly number[];

export const I32 = 0x7f;
export const F32 = 0x7d;
export const V128 = 0x7b;
export type WasmType = typeof I32 | typeof F32 | typeof V128;

/** A parameter or a variable of a function, by its place among them: parameters come first. */
export type Local = number;

export interface WasmFunction {
  readonly name: string;
  readonly parameters: readonly WasmType[];
  /** Variables behind the parameters; 0 at first. */
  readonly variables: readonly WasmType[];
  /** What the code leaves to be given back. */
  readonly result?: WasmType;
  readonly code: Code;
}

// ---- instructions --------------------------------------------------------------------------------

type Operation = (...operands: readonly Code[]) => Code;
type Load = (address: Code, offset?: number) => Code;
type Store = (address: Code, value: Code, offset?: number) => Code;

const operation = (...code: readonly number[]): Operation => (...operands) => [...operands.flat(), ...code]; // prettier-ignore
/** An instruction on vectors of 128 bits. */
const vector = (code: number): readonly number[] => [0xfd, ...unsigned(code)];
/** Places in memory need not be multiples of anything: 0 is the alignment that is promised. */
const load = (...code: readonly number[]): Load => (address, offset = 0) => [...address, ...code, 0, ...unsigned(offset)]; // prettier-ignore
const store = (...code: readonly number[]): Store => (address, value, offset = 0) => [...address, ...value, ...code, 0, ...unsigned(offset)]; // prettier-ignore

export const get = (local: Local): Code => [0x20, ...unsigned(local)];
export const set = (local: Local, value: Code): Code => [...value, 0x21, ...unsigned(local)];

export const i32 = {
  const: (value: number): Code => [0x41, ...signed(value)],
  load: load(0x28),
  load16: load(0x2f),
  store: store(0x36),
  store16: store(0x3b),
  add: operation(0x6a),
  mul: operation(0x6c),
  divide: operation(0x6e),
  shiftLeft: operation(0x74),
} as const;

export const i64 = { load: load(0x29), store: store(0x37) } as const;

export const f32 = {
  load: load(0x2a),
  store: store(0x38),
  add: operation(0x92),
  mul: operation(0x94),
  /** The same bits as f32. */
  ofBits: operation(0xbe),
} as const;

export const v128 = {
  load: load(...vector(0)),
  store: store(...vector(11)),
  and: operation(...vector(78)),
  or: operation(...vector(80)),
  /** 1 if any bit is, else 0. */
  anyTrue: operation(...vector(83)),
  /** Of the third's bits that are 1, the first's, else the second's. */
  select: operation(...vector(82)),
} as const;

export const i32x4 = {
  /** The same value in all four. */
  const: (value: number): Code => [...vector(12), ...new Uint8Array(Int32Array.of(value, value, value, value).buffer)],
  shiftLeft: operation(...vector(171)),
  shiftRight: operation(...vector(173)),
  add: operation(...vector(174)),
  /** Of two vectors, all eight as 16 bits; each of them is less than 65536. */
  toU16: operation(...vector(134)),
} as const;

export const f32x4 = {
  splat: operation(...vector(19)),
  lane: (value: Code, lane: number): Code => [...value, ...vector(31), lane],
  equal: operation(...vector(65)),
  add: operation(...vector(228)),
  mul: operation(...vector(230)),
  /** first * second + third, rounded once or twice as the processor does it faster. Not in every engine. */
  relaxedMadd: operation(...vector(261)),
  /** Four of the eight values of two vectors, by their places. */
  shuffle: (a: Code, b: Code, places: readonly number[]): Code => [
    ...[...a, ...b, ...vector(13)],
    ...places.flatMap((place) => [0, 1, 2, 3].map((byte) => 4 * place + byte)),
  ],
} as const;

/** Runs the body as long as the first is less than the second. */
export function whileLess(a: Code, b: Code, body: Code): Code {
  const isLess = [...a, ...b, 0x49];
  const [block, loop, end, not] = [[0x02, 0x40], [0x03, 0x40], 0x0b, 0x45] as const;
  const [leave, again] = [
    [0x0d, 0],
    [0x0d, 0],
  ] as const;
  return [...block, ...isLess, not, ...leave, ...loop, ...body, ...isLess, ...again, end, end];
}

// ---- modules -------------------------------------------------------------------------------------

/** A module that takes its memory as `host.memory` and gives its functions by their names. */
export function encodeModule(functions: readonly WasmFunction[]): Uint8Array<ArrayBuffer> {
  const types = functions.map(({ parameters, result }) => {
    return [0x60, ...list(parameters.map((type) => [type])), ...list(result === undefined ? [] : [[result]])];
  });
  const memory = [...text('host'), ...text('memory'), 2, 0, 0];
  const exported = functions.map(({ name }, at) => [...text(name), 0, ...unsigned(at)]);
  const bodies = functions.map(({ variables, code }) => sized([...list(variables.map((type) => [1, type])), ...code, 0x0b]));
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, types),
    ...section(2, [memory]),
    ...section(3, types.map((_, at) => unsigned(at))), // prettier-ignore
    ...section(7, exported),
    ...section(10, bodies),
  ]);
}

const section = (id: number, entries: readonly Code[]): Code => [id, ...sized(list(entries))];
const sized = (code: Code): Code => [...unsigned(code.length), ...code];
const list = (entries: readonly Code[]): Code => [...unsigned(entries.length), ...entries.flat()];
const text = (name: string): Code => sized([...new TextEncoder().encode(name)]);

/** LEB128: seven bits a byte, the lowest first. */
function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): number[] {
  const isLast = value >= -0x40 && value < 0x40;
  return isLast ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signed(value >> 7)];
}
