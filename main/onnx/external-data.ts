import { dirname, relative, sep } from 'node:path';
import type { ByteRange } from '../contract/tensor.ts';
import type { ElementType, TensorProto } from './proto.ts';

/** A weight as an initializer whose values stay where they are: in a file, from an offset on. */
export function externalTensor(name: string, type: ElementType, range: ByteRange, folder: string): TensorProto {
  return {
    name,
    dims: range.shape,
    dataType: type,
    dataLocation: 1,
    externalData: [
      { key: 'location', value: relative(folder, range.file).split(sep).join('/') },
      { key: 'offset', value: String(range.offset) },
      { key: 'length', value: String(range.length) },
    ],
  };
}

/** Sorts ranges file by file, from front to back. */
export function byPlace(a: Pick<ByteRange, 'file' | 'offset'>, b: Pick<ByteRange, 'file' | 'offset'>): number {
  if (a.file === b.file) return a.offset - b.offset;
  return a.file < b.file ? -1 : 1;
}

/** Tells ranges apart by their bytes. */
export function placeOf({ file, offset, length }: Pick<ByteRange, 'file' | 'offset' | 'length'>): string {
  return `${file}:${offset}:${length}`;
}

/** The deepest folder that holds all files; external data may not be named by absolute paths. */
export function commonFolder(files: readonly string[]): string | undefined {
  const [first, ...others] = new Set(files.map((file) => dirname(file)));
  if (first === undefined) return undefined;
  return others.reduce((common, folder) => {
    let shared = common;
    while (folder !== shared && !folder.startsWith(shared.endsWith(sep) ? shared : shared + sep)) {
      const parent = dirname(shared);
      if (parent === shared) throw new RangeError('the shards of one model lie on different drives');
      shared = parent;
    }
    return shared;
  }, first);
}
