import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LoraQuery } from '../../main/contract/loras.ts';
import { lookAtImage } from '../../main/imaging/look.ts';
import { Library } from '../../main/library/library.ts';
import { mapLimited } from '../../main/library/limited.ts';
import { mulberry32 } from '../../main/weights/synthetic.ts';
import { makeImages } from '../library/make-images.ts';

const LORAS = 10_000;
const SETS = 2_000;
const REPEATS = 40;
const WORDS = 'fox snow ink portrait castle sea watercolour neon forest 狐 水墨 night line grain studio paper'.split(' ');

/** The library at the size that it has to hold: 10,000 LoRAs, 2,000 sets, and an import of images. */
export async function benchLibrary({
  images,
  folder,
}: {
  readonly images: number;
  readonly folder: string | undefined;
}): Promise<void> {
  const work = mkdtempSync(join(folder ?? tmpdir(), 'i2l-bench-library-'));
  try {
    const data = join(work, 'data');
    await fillLibrary(data);
    const opened: number[] = [];
    for (let i = 0; i < 5; i++) opened.push(await timeOpen(data));
    report('open', opened, 300);
    const library = await Library.open(data, { role: 'owner', name: 'bench' });
    for (const [name, query] of LISTS)
      report(
        `list: ${name}`,
        times(() => library.loras.list(query)),
        20,
      );
    for (const [name, query] of SEARCHES)
      report(
        `search: ${name}`,
        times(() => library.loras.list(query)),
        50,
      );
    report(
      'list of sets',
      times(() => library.sets.list({ sort: 'name', offset: 1000 })),
      20,
    );
    report(
      'search of sets',
      times(() => library.sets.list({ text: 'fo' })),
      50,
    );
    if (images > 0) await benchImport(library, join(work, 'images'), images);
    await library.close();
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const LISTS: [string, LoraQuery][] = [
  ['first page', {}],
  ['page at 9,900', { offset: 9_900 }],
  ['by name at 5,000', { sort: 'name', order: 'ascending', offset: 5_000 }],
  ['by rating, of a target, with tags', { sort: 'rating', target: 'qwen-image', tagsAll: ['tag 1'], tagsAny: ['tag 2', 'tag 3'] }],
  ['of an expert, rank 8 and more, favourites', { expert: 'style', rankFrom: 8, favourite: true }],
  ['page of 500', { limit: 500 }],
];

const SEARCHES: [string, LoraQuery][] = [
  ['one word', { text: 'fox' }],
  ['a beginning of two letters', { text: 'po' }],
  ['one letter', { text: 'f' }],
  ['two words by relevance', { text: 'fox sno', sort: 'relevance' }],
  ['Chinese', { text: '水墨' }],
  ['with filters', { text: 'castle', target: 'qwen-image', tagsAny: ['tag 1'], sort: 'name' }],
  ['nothing found', { text: 'zebra' }],
];

/** @param data a folder that becomes the data folder */
export async function fillLibrary(data: string): Promise<void> {
  const next = mulberry32(1);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)] as T;
  const words = (count: number): string => Array.from({ length: count }, () => pick(WORDS)).join(' ');
  const hash = (): string => Array.from({ length: 8 }, () => Math.floor(next() * 2 ** 32).toString(16).padStart(8, '0')).join(''); // prettier-ignore
  let now = 1.7e12;
  const library = await Library.open(data, { role: 'owner', name: 'bench', now: () => (now += 1000) });
  mkdirSync(join(data, 'loras'));
  const madeFrom = (): object[] => Array.from({ length: 10 }, () => ({ hash: hash(), weight: 0.1, caption: words(15) }));
  library.database.write(() => {
    for (let i = 0; i < SETS; i++) library.sets.create({ name: `${words(3)} ${i}`, notes: words(20), target: 'qwen-image' });
    for (let i = 0; i < LORAS; i++) {
      const file = join(data, 'loras', `${i}.safetensors`);
      writeFileSync(file, '');
      const rank = 4 * (1 + Math.floor(next() * 16));
      const { id } = library.loras.add(
        {
          ...{ file, bytes: rank * 1e7, sha256: hash(), tensorHash: hash(), target: pick(['qwen-image', 'z-image']) },
          ...{ keyForm: 'comfyui', modules: 720, rank: { min: rank, max: rank }, dtypes: ['BF16'] },
          metadata: { 'i2l.experts': JSON.stringify([{ id: pick(['style', 'coarse']), fingerprint: hash(), strength: 1 }]) },
        },
        {
          ...{ name: `${words(3)} ${i}`, notes: words(30), tags: [1, 2, 3].map(() => `tag ${Math.floor(next() * 20)}`) },
          madeFrom: { images: madeFrom() } as never,
        },
      );
      library.loras.update(id, { rating: i % 6, favourite: i % 10 === 0 });
    }
  });
  await library.close();
}

async function timeOpen(data: string): Promise<number> {
  const started = performance.now();
  const library = await Library.open(data, { role: 'owner', name: 'bench' });
  library.loras.list();
  const taken = performance.now() - started;
  await library.close();
  return taken;
}

/** Against the same images decoded and hashed alone. */
async function benchImport(library: Library, folder: string, count: number): Promise<void> {
  const files = await makeImages(folder, count, 5, 1024);
  const decodeStarted = performance.now();
  await mapLimited(files, 4, lookAtImage);
  const decode = performance.now() - decodeStarted;
  const started = performance.now();
  const { sets } = await library.setImport.importFolder(folder);
  const taken = performance.now() - started;
  const ratio = (taken / decode).toFixed(2);
  console.log(
    `import of ${sets[0]?.added.length} images: ${(taken / 1000).toFixed(1)} s; decode alone ${(decode / 1000).toFixed(1)} s; ratio ${ratio}`,
  );
}

function times(work: () => unknown): number[] {
  return Array.from({ length: REPEATS }, () => {
    const started = performance.now();
    work();
    return performance.now() - started;
  });
}

function report(name: string, measured: readonly number[], bar: number): void {
  const sorted = measured.toSorted((a, b) => a - b);
  const median = sorted[sorted.length >> 1] ?? 0;
  const slowest = sorted.at(-1) ?? 0;
  const verdict = median <= bar ? 'pass' : 'MISSED';
  console.log(`${name}: median ${median.toFixed(1)} ms, slowest ${slowest.toFixed(1)} ms, bar ${bar} ms: ${verdict}`);
}
