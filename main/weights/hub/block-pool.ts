/**
 * A file as blocks of equal size, the last one shorter, and who fetches which. Blocks are handed out from
 * the start in runs, long ones while there is much to do and short ones at the end, so that no connection is
 * left with a long tail.
 */
export interface Run {
  readonly first: number;
  readonly count: number;
}

type State = 'missing' | 'claimed' | 'done';

export class BlockPool {
  readonly size: number;
  readonly blockSize: number;
  readonly count: number;
  readonly #states: State[];
  #missing: number;
  #done = 0;

  /** @param size of the file in bytes. @param done blocks that are there already. */
  constructor(size: number, blockSize: number, done: Iterable<number> = []) {
    this.size = size;
    this.blockSize = blockSize;
    this.count = Math.ceil(size / blockSize);
    this.#states = new Array<State>(this.count).fill('missing');
    this.#missing = this.count;
    for (const block of done) {
      if (this.#states[block] !== 'missing') continue;
      this.#states[block] = 'done';
      this.#missing--;
      this.#done++;
    }
  }

  get isDone(): boolean {
    return this.#done === this.count;
  }

  /** Bytes of all blocks that are there. */
  get bytesDone(): number {
    const lastIsDone = this.count > 0 && this.#states[this.count - 1] === 'done';
    return this.#done * this.blockSize - (lastIsDone ? this.count * this.blockSize - this.size : 0);
  }

  has(block: number): boolean {
    return this.#states[block] === 'done';
  }

  /** The bytes of a block: from `start`, up to but without `end`. */
  range(block: number): { readonly start: number; readonly end: number } {
    return { start: block * this.blockSize, end: Math.min(this.size, (block + 1) * this.blockSize) };
  }

  /** The first missing blocks in a row, at most `most`, and at most a fair share among `connections`. */
  claim(most: number, connections: number): Run | undefined {
    const first = this.#states.indexOf('missing');
    if (first < 0) return undefined;
    const wanted = Math.max(1, Math.min(most, Math.ceil(this.#missing / (2 * connections))));
    let count = 0;
    while (count < wanted && this.#states[first + count] === 'missing') this.#states[first + count++] = 'claimed';
    this.#missing -= count;
    return { first, count };
  }

  done(block: number): void {
    if (this.#states[block] === 'done') return;
    if (this.#states[block] === 'missing') this.#missing--;
    this.#states[block] = 'done';
    this.#done++;
  }

  /** What a connection claimed and didn't bring is for others again. */
  giveBack({ first, count }: Run): void {
    for (let block = first; block < first + count; block++) {
      if (this.#states[block] !== 'claimed') continue;
      this.#states[block] = 'missing';
      this.#missing++;
    }
  }

  /** A block that turned out to be damaged. */
  undo(block: number): void {
    if (this.#states[block] !== 'done') return;
    this.#states[block] = 'missing';
    this.#missing++;
    this.#done--;
  }
}
