import { hash } from 'node:crypto';
import type { BuiltGraph } from '../onnx/graph.ts';
import { Session, type RunnableGraph, type SessionOptions } from '../onnx/runtime.ts';

/** More kinds of graphs than any network has; a LoRA with a rank of its own for each module may have more. */
const KEPT = 32;

/** The sessions used last, of graphs that hold no weights of their own: one serves all graphs that are made alike. */
export class SessionCache {
  readonly #options: SessionOptions;
  readonly #sessions = new Map<string, Session>();

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  /** @param key the same for graphs made alike, and for no others. @throws I2lError SESSION_FAILED */
  async get(key: string, graph: () => RunnableGraph): Promise<Session> {
    const session = this.#sessions.get(key) ?? (await Session.create(graph(), this.#options));
    this.#sessions.delete(key);
    this.#sessions.set(key, session); // The last used is the last in the map.
    const [oldest] = this.#sessions.keys();
    if (this.#sessions.size > KEPT && oldest !== undefined) {
      await this.#sessions.get(oldest)?.release();
      this.#sessions.delete(oldest);
    }
    return session;
  }

  async close(): Promise<void> {
    for (const session of this.#sessions.values()) await session.release();
    this.#sessions.clear();
  }
}

/** Tells graphs apart whose weights are fed, by all that they are beside those. */
export function modelKey({ model }: Pick<BuiltGraph, 'model'>): string {
  return hash('sha256', model);
}
