const PAGE = 1 << 16;
/** What processors load at once. */
export const ALIGNED_BYTES = 64;
/** Places have 32 bits, and so has the one behind the last byte. */
export const MOST_BYTES = 2 ** 32 - PAGE;

/** Memory that functions of WebAssembly work on. It is taken from its start on, grows, and never becomes smaller. */
export class WasmMemory {
  readonly host = new WebAssembly.Memory({ initial: 1 });
  #taken = 0;

  /** Another one whenever the memory has grown. */
  get buffer(): ArrayBuffer {
    return this.host.buffer;
  }

  /** Bytes that are taken. */
  get taken(): number {
    return this.#taken;
  }

  /** @returns the first of so many bytes, a multiple of 64 */
  take(bytes: number): number {
    const first = Math.ceil(this.#taken / ALIGNED_BYTES) * ALIGNED_BYTES;
    this.#taken = first + bytes;
    const missing = this.#taken - this.host.buffer.byteLength;
    if (missing > 0) this.host.grow(Math.ceil(missing / PAGE));
    return first;
  }

  /** Gives back all that was taken since so many bytes were. */
  release(taken: number): void {
    this.#taken = taken;
  }
}
