import { ELEMENT } from './proto.ts';
import { Session } from './runtime.ts';
import { ShapeGraph } from './shape-graph.ts';

/** How the values of a weight in bytes lie in its file; in U8, 128 stands for 0. */
export type ByteType = 'I8' | 'U8';

const [ROWS, INNER, COLUMNS] = [8, 64, 32];
const MOST = 127;

let found: Promise<ByteType> | undefined;

/**
 * The faster of the two whose products with unsigned bytes the processor sums exactly. With signed ones, processors
 * without the instructions for it (x64 before VNNI) hold pairs of products in 16 bits, and large ones are cut off; the
 * runtime says so in https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html.
 * Computed once for a process. @throws I2lError SESSION_FAILED
 */
export function exactByteType(): Promise<ByteType> {
  found ??= sumsSigned().then((isExact) => (isExact ? 'I8' : 'U8'));
  return found;
}

/** The largest products of all, in a session on one thread. */
async function sumsSigned(): Promise<boolean> {
  const g = new ShapeGraph('mapped');
  const rows = g.input('rows', [ROWS, INNER], ELEMENT.UINT8);
  const columns = g.input('columns', [INNER, COLUMNS], ELEMENT.INT8);
  const sums = g.node('MatMulInteger', [rows, columns], [ROWS, COLUMNS], {}, '', ELEMENT.INT32);
  g.output('sums', g.cast(sums, ELEMENT.FLOAT));
  const session = await Session.create(g.build(), { device: 'cpu', threads: 1 });
  try {
    const { sums: result } = await session.run({
      rows: { data: new Uint8Array(ROWS * INNER).fill(2 * MOST + 1), dims: [ROWS, INNER] },
      columns: { data: new Int8Array(INNER * COLUMNS).fill(MOST), dims: [INNER, COLUMNS] },
    });
    return (result?.data as Float32Array).every((sum) => sum === INNER * (2 * MOST + 1) * MOST);
  } finally {
    await session.release();
  }
}
