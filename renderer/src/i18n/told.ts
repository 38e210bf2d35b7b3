import type { ErrorCode, ErrorReason, ErrorShape } from '../../../main/contract/errors.ts';
import type { NoteCode } from '../../../main/contract/notes.ts';
import type { Format } from './format.ts';

/** What a sentence about a failure or a note is made of, and whether all that it asked for was there. */
export class Told {
  /** The app's own words, in English. */
  readonly message: string;
  readonly #fields: ErrorShape['fields'];
  readonly #format: Format;
  readonly #failure: string | undefined;
  #lacks = false;

  /** @param failure the sentence of the failure that a note tells of */
  constructor({ message, fields }: Pick<ErrorShape, 'message' | 'fields'>, format: Format, failure?: string) {
    this.message = message;
    this.#fields = fields;
    this.#format = format;
    this.#failure = failure;
  }

  /** False once a field was told that is absent, or no number where one is told: another version's, whose sentence would have a hole. */
  get isWhole(): boolean {
    return !this.#lacks;
  }

  has(name: string): boolean {
    return this.#fields[name] !== undefined;
  }

  is(name: string, value: string): boolean {
    return this.#fields[name] === value;
  }

  /** Of a list the first few. */
  text(name: string): string {
    const value = this.#get(name);
    if (typeof value !== 'object') return String(value);
    return value.slice(0, LISTED).join(', ') + (value.length > LISTED ? ' …' : '');
  }

  /** With words around it; nothing where the field is absent. */
  with(name: string, words: (text: string) => string): string {
    return this.has(name) ? words(this.text(name)) : '';
  }

  /** Of a file. */
  bytes(name: string): string {
    return this.#format.bytes(this.#number(name));
  }

  number(name: string): string {
    return this.#format.number(this.#number(name));
  }

  memory(name: string): string {
    return this.#format.memory(this.#number(name));
  }

  /** @param unit seconds in one of the field's */
  duration(name: string, unit = 1): string {
    return this.#format.duration(this.#number(name) * unit);
  }

  /** The file, the folder or the thing that it is about, and a colon; nothing where none is known. */
  subject(colon: string): string {
    const name = SUBJECTS.find((field) => this.has(field));
    return name === undefined ? '' : this.text(name) + colon;
  }

  /** What went wrong, as a sentence of its own. */
  failure(): string {
    if (this.#failure === undefined) this.#lacks = true;
    return this.#failure ?? '';
  }

  /** What went wrong with the file of this field, which is named if that sentence doesn't. */
  failureOf(name: string, colon: string): string {
    const [file, failure] = [this.text(name), this.failure()];
    return failure.includes(file) ? failure : file + colon + failure;
  }

  /** One of the values that the page has words for. */
  oneOf<Value extends string>(name: string, values: readonly Value[]): Value | undefined {
    const value = values.find((known) => this.is(name, known));
    if (value === undefined) this.#lacks = true;
    return value;
  }

  #number(name: string): number {
    const value = Number(this.#get(name));
    if (!Number.isFinite(value)) this.#lacks = true;
    return value;
  }

  #get(name: string): ErrorShape['fields'][string] {
    const value = this.#fields[name];
    if (value === undefined) this.#lacks = true;
    return value ?? '';
  }
}

const LISTED = 5;
const SUBJECTS = ['file', 'folder', 'title', 'name'] as const;

export type Sentence = (told: Told) => string;

/** One for each code, and for each reason that a code can have: those are the more exact. */
export interface Sentences {
  readonly codes: Readonly<Record<ErrorCode, Sentence>>;
  readonly reasons: Readonly<Record<ErrorReason, Sentence>>;
  /** Where one of several things went wrong, before what happened to the first. */
  readonly several: (failed: string, all: string) => string;
}

/** One for each note of a job's log. */
export type Notes = Readonly<Record<NoteCode, Sentence>>;
