import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { elementCount } from '../../main/contract/tensor.ts';
import { dinov3 } from '../../main/networks/dinov3.ts';
import { i2l } from '../../main/networks/i2l.ts';
import { layoutOf, type Network } from '../../main/networks/network.ts';
import { qwen25vl } from '../../main/networks/qwen25vl.ts';
import { siglip2 } from '../../main/networks/siglip2.ts';
import type { Layout } from '../../main/weights/fingerprint.ts';

/** Files with the headers of the published models and a hole in place of values: full size, and no room taken. */
const NETWORKS = [siglip2, dinov3, qwen25vl, i2l] as unknown as readonly Network<object>[];

export type SparseDtype = keyof typeof BYTES;

export function layoutOfModel(id: string): Layout {
  const network = NETWORKS.find((candidate) => id in candidate.published);
  return layoutOf(network!, network!.published[id]!);
}

const BYTES = { BF16: 2, F16: 2, F32: 4, F8_E4M3: 1, F8_E5M2: 1 };

export function sparse(
  path: string,
  layout: Layout,
  dtype: keyof typeof BYTES = 'BF16',
  metadata?: Record<string, string>,
): string {
  const header: Record<string, unknown> = metadata ? { __metadata__: metadata } : {};
  let end = 0;
  for (const { name, shape } of layout) {
    const start = end;
    end += elementCount(shape) * BYTES[dtype];
    header[name] = { dtype, shape, data_offsets: [start, end] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.length));
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, Buffer.concat([prefix, json]));
  truncateSync(path, 8 + json.length + end);
  return path;
}

export function sparseModel(path: string, id: string, dtype?: SparseDtype): string {
  return sparse(path, layoutOfModel(id), dtype);
}
