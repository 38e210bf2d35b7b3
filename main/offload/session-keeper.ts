import type { GraphCost } from '../onnx/cost.ts';
import type { Session } from '../onnx/runtime.ts';

/** What a kept session holds, and what the next job spares by it. */
export interface KeptWorth {
  /** Of its stages, see JoinedGroup. */
  readonly name: string;
  /** Bytes of memory. */
  readonly bytes: number;
  readonly savedMs: number;
}

interface Kept extends KeptWorth {
  readonly session: KeptSession;
  /** The last job that used it. */
  job: number;
}

/** A session, as far as it matters who keeps it. */
export type KeptSession = Pick<Session, 'run' | 'release'>;

/** Nodes and names of a graph in the runtime (measured: 0.3 to 1 MB). */
const GRAPH_BYTES = 1 << 20;

/**
 * Bytes that a session of these stages holds while it is kept; 0 for one that isn't, since it lays nothing out. The
 * runtime lets go of the weights that it has laid out anew, which are most of them.
 */
export function heldBytes(costs: readonly Pick<GraphCost, 'weights' | 'packed'>[]): number {
  const packed = costs.reduce((sum, cost) => sum + (cost.packed ?? 0), 0);
  const weights = costs.flatMap((cost) => cost.weights).reduce((sum, { length }) => sum + length, 0);
  return packed > 0 ? GRAPH_BYTES + Math.max(packed, weights) : 0;
}

/** This process holds more than a job leaves room for, and would not give it all back: a fresh one has to take the job. */
export class KeeperOverfull extends Error {
  constructor() {
    super('The sessions that were kept leave this job too little memory.');
  }
}

/**
 * Sessions that outlive the job that made them, so that the next one over the same weights finds them laid out. What is
 * held never passes the room that a job leaves. Each job goes through all of its stages in turn, so a session that was
 * used lately is not given up for another: with room for half of them, the same half is found each time.
 */
export class SessionKeeper {
  readonly #kept = new Map<string, Kept>();
  #room = 0;
  #job = 0;
  #bytes = 0;

  /** Bytes of all that is held. */
  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#kept.size;
  }

  /** Whether stages of this name are likely to be found; their weights may be others by now. */
  hasNamed(name: string): boolean {
    return [...this.#kept.values()].some((kept) => kept.name === name);
  }

  /**
   * A job begins.
   * @param room bytes that its plan leaves
   * @throws KeeperOverfull what is freed returns to the heap, and not to the system
   */
  begin(room: number): void {
    if (this.#bytes > room) throw new KeeperOverfull();
    this.#room = room;
    this.#job++;
  }

  /** @param key says all that makes a session what it is */
  find(key: string): KeptSession | undefined {
    const kept = this.#kept.get(key);
    if (kept) kept.job = this.#job;
    return kept?.session;
  }

  /** Takes over a session, or releases it where there is no room. */
  async keep(key: string, session: KeptSession, worth: KeptWorth): Promise<void> {
    for (const [old, kept] of this.#outOfUse()) {
      if (this.#bytes + worth.bytes <= this.#room) break;
      this.#kept.delete(old);
      this.#bytes -= kept.bytes;
      await kept.session.release();
    }
    if (this.#bytes + worth.bytes > this.#room) return session.release();
    this.#kept.set(key, { session, ...worth, job: this.#job });
    this.#bytes += worth.bytes;
  }

  /** Those that neither this job nor the one before it used; first the ones that save least for their memory. */
  #outOfUse(): [string, Kept][] {
    const worthOf = ({ savedMs, bytes }: Kept): number => savedMs / bytes;
    return [...this.#kept].filter(([, { job }]) => job < this.#job - 1).sort(([, a], [, b]) => worthOf(a) - worthOf(b));
  }
}
