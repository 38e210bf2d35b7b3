import { readdir, readFile, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { fileError, I2lError, systemCode } from '../contract/errors.ts';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.webmanifest': 'application/manifest+json; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
  '.webp': 'image/webp',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
};

const PAGE = 'index.html';
/** The bundler puts a hash of the content into these names. */
const HASHED = /^assets\/.*-[\w-]{8,}\.\w+$/;

/** The built interface. Only files that lie in its folder have an address: nothing else can be asked for. */
export class Assets {
  readonly #folder: string;
  #names: ReadonlySet<string> = new Set();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** @throws I2lError FILE_NOT_FOUND where it was not built */
  async check(): Promise<void> {
    this.#names = await namesIn(this.#folder);
    if (!this.#names.has(PAGE)) throw notBuilt(this.#folder);
  }

  /** @param path of the address, decoded, from '/' on; undefined where there is no such file */
  async answer(path: string): Promise<Response | undefined> {
    const name = path === '/' ? PAGE : path.slice(1);
    // The page names the files of its own build, which may be newer than what was listed.
    if (name === PAGE) await this.check();
    const type = TYPES[extname(name)];
    if (type === undefined || !this.#names.has(name)) return undefined;
    const cache = HASHED.test(name) ? 'public, max-age=31536000, immutable' : 'no-cache';
    const bytes = await readFile(join(this.#folder, name)).catch((error: unknown) => {
      throw fileError(join(this.#folder, name), 'read', error);
    });
    return new Response(bytes, { headers: { 'content-type': type, 'cache-control': cache } });
  }
}

async function namesIn(folder: string): Promise<ReadonlySet<string>> {
  try {
    return new Set(await filesUnder(folder, ''));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') throw notBuilt(folder);
    throw fileError(folder, 'read', error);
  }
}

/** By names alone: of what is in the app's archive, Electron tells less than Node of a folder. */
async function filesUnder(folder: string, path: string): Promise<string[]> {
  const names = await readdir(join(folder, path));
  const found = names.map(async (name) => {
    const inside = path === '' ? name : `${path}/${name}`;
    return (await stat(join(folder, inside))).isDirectory() ? filesUnder(folder, inside) : [inside];
  });
  return (await Promise.all(found)).flat();
}

function notBuilt(folder: string): I2lError {
  return new I2lError('FILE_NOT_FOUND', `${folder}: the interface is not built; run npm run build.`, { file: folder });
}
