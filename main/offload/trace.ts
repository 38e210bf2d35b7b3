/** What really happened in a run: the ground for every figure that we print. */
export interface StageTrace {
  readonly network: string;
  /** First and last stage of the group. */
  readonly stages: string;
  readonly weightBytes: number;
  /** Time in which nothing was done because its weights had not come. */
  readonly waitMs: number;
  readonly createMs: number;
  readonly runMs: number;
  /** Time in which results were taken away: written to the file. */
  readonly sinkMs: number;
  /** Its weights were in memory since an earlier job, and were not read. */
  readonly wereKept?: boolean;
}

export interface TraceSummary {
  readonly stages: readonly StageTrace[];
  /** Of each network, from its first stage to its last; its stages' times add up to more where they run side by side. */
  readonly networkMs: ReadonlyMap<string, number>;
  readonly weightBytes: number;
  readonly seconds: number;
  /** The process's own, mapped pages of the weights included. */
  readonly peakResidentBytes: number;
  /** Read ahead by the reader thread; the rest came with the computation or was in memory already. */
  readonly readAheadBytes: number;
  readonly readAheadMs: number;
}

/** What the reader thread has read, and the time it took. */
export interface ReadAhead {
  readonly bytes: number;
  readonly ms: number;
}

export class Trace {
  readonly #started = performance.now();
  readonly #stages: StageTrace[] = [];
  readonly #networkMs = new Map<string, number>();
  #readAhead: ReadAhead = { bytes: 0, ms: 0 };

  add(stage: StageTrace): void {
    this.#stages.push(stage);
  }

  addNetwork(network: string, ms: number): void {
    this.#networkMs.set(network, (this.#networkMs.get(network) ?? 0) + ms);
  }

  addReadAhead(bytes: number, ms: number): void {
    this.#readAhead = { bytes: this.#readAhead.bytes + bytes, ms: this.#readAhead.ms + ms };
  }

  get readAhead(): ReadAhead {
    return this.#readAhead;
  }

  summary(): TraceSummary {
    return {
      stages: this.#stages,
      networkMs: this.#networkMs,
      weightBytes: this.#stages.reduce((sum, stage) => sum + stage.weightBytes, 0),
      seconds: (performance.now() - this.#started) / 1000,
      // Kilobytes on every platform, by Node's documentation.
      peakResidentBytes: process.resourceUsage().maxRSS * 1024,
      readAheadBytes: this.#readAhead.bytes,
      readAheadMs: this.#readAhead.ms,
    };
  }
}
