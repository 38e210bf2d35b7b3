import { mkdir, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DEFAULT_SETTINGS, settingsSchema, type Settings, type SettingsChange } from '../contract/app.ts';
import { fileError, I2lError, systemCode } from '../contract/errors.ts';
import { note, type Note } from '../contract/notes.ts';
import { publishOver, writePart } from '../weights/atomic-copy.ts';

export const SETTINGS_NAME = 'settings.json';

type Listener = (settings: Settings) => void;

/** The user's settings, in a JSON file that may be edited by hand while the app is closed. */
export class SettingsStore {
  readonly file: string;
  /** What was wrong with the file, for the user. */
  readonly notes: readonly Note[];
  #settings: Settings;
  #writing: Promise<unknown> = Promise.resolve();
  readonly #listeners = new Set<Listener>();

  private constructor(file: string, { settings, notes }: Loaded) {
    this.file = file;
    this.#settings = settings;
    this.notes = notes;
  }

  /** A file that can't be understood is set aside, not lost; what it says well counts. @throws I2lError FILE_UNREADABLE, FILE_WRITE_FAILED */
  static async open(file: string): Promise<SettingsStore> {
    return new SettingsStore(file, await load(file));
  }

  get(): Settings {
    return this.#settings;
  }

  /** On the disk when it returns; one change after the other. @throws I2lError FILE_WRITE_FAILED, DISK_FULL */
  async set(change: SettingsChange): Promise<Settings> {
    const written = this.#writing.then(() => this.#apply(change));
    this.#writing = written.catch(() => undefined);
    return written;
  }

  /** @returns what ends it */
  onChange(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  get listenerCount(): number {
    return this.#listeners.size;
  }

  async #apply(change: SettingsChange): Promise<Settings> {
    const settings = settingsSchema.parse({ ...this.#settings, ...withoutUndefined(change) });
    await mkdir(dirname(this.file), { recursive: true }).catch((error: unknown) => {
      throw fileError(this.file, 'write', error);
    });
    await publishOver(await writePart(this.file, `${JSON.stringify(settings, null, 2)}\n`));
    this.#settings = settings;
    for (const listener of this.#listeners) listener(settings);
    return settings;
  }
}

/** A name that a client sends with no value changes nothing. */
function withoutUndefined(change: SettingsChange): Partial<Settings> {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
}

interface Loaded {
  readonly settings: Settings;
  readonly notes: readonly Note[];
}

async function load(file: string): Promise<Loaded> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return { settings: DEFAULT_SETTINGS, notes: [] };
    throw fileError(file, 'read', error);
  }
  const { settings, faults } = parseSettings(text);
  if (faults.length === 0) return { settings, notes: [] };
  return { settings, notes: [faultsNote(file, faults, await setAside(file))] };
}

/** What of a settings file can't be used: one setting, or all of it. */
interface Fault {
  readonly setting?: string;
  readonly why: string;
}

function faultsNote(file: string, faults: readonly Fault[], aside: string): Note {
  const said = faults.map(({ setting, why }) => (setting === undefined ? why : `${setting} can't be used (${why})`)).join('; ');
  const message = `${file}: ${said}. The defaults are used in their place; the file is kept as ${aside}.`;
  const settings = faults.flatMap(({ setting }) => setting ?? []);
  return settings.length === 0
    ? note('SETTINGS_NOT_READ', message, { file, aside })
    : note('SETTINGS_LEFT_OUT', message, { file, settings, aside });
}

/** Every setting that is good by itself is taken. */
export function parseSettings(text: string): { readonly settings: Settings; readonly faults: readonly Fault[] } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { settings: DEFAULT_SETTINGS, faults: [{ why: 'it is no JSON' }] };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { settings: DEFAULT_SETTINGS, faults: [{ why: 'it is no JSON object' }] };
  }
  const good: Record<string, unknown> = { ...DEFAULT_SETTINGS };
  const faults: Fault[] = [];
  for (const [name, schema] of Object.entries(settingsSchema.shape)) {
    if (!Object.hasOwn(value, name)) continue;
    const parsed = schema.safeParse((value as Record<string, unknown>)[name]);
    if (parsed.success) good[name] = parsed.data;
    else faults.push({ setting: name, why: parsed.error.issues[0]?.message ?? 'wrong' });
  }
  return { settings: settingsSchema.parse(good), faults };
}

async function setAside(file: string): Promise<string> {
  const aside = `${file}.damaged-${new Date().toISOString().replace(/[:.]/g, '-')}`;
  try {
    await rename(file, aside);
    return aside;
  } catch (error) {
    throw new I2lError(
      'FILE_WRITE_FAILED',
      `${file}: it can't be understood, and can't be set aside either; move it away.`,
      { file, reason: 'not-understood' },
      error,
    );
  }
}
