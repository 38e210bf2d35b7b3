import type { BuiltGraph } from '../onnx/graph.ts';
import { Session, type SessionOptions } from '../onnx/runtime.ts';
import type { NetworkRun } from './group.ts';
import { modelKey, SessionCache } from './session-cache.ts';

/** A session for each group; groups whose weights are fed share those of their kind. */
export class GroupSessions {
  readonly #options: SessionOptions;
  readonly #shared: SessionCache | undefined;

  constructor({ session, plan }: NetworkRun) {
    this.#options = session;
    this.#shared = plan.weightsAs === 'fed' ? new SessionCache(session) : undefined;
  }

  /** @throws I2lError SESSION_FAILED */
  open(built: BuiltGraph): Promise<Session> {
    return this.#shared ? this.#shared.get(modelKey(built), () => built) : Session.create(built, this.#options);
  }

  /** Its group has run. */
  async release(session: Session): Promise<void> {
    if (!this.#shared) await session.release();
  }

  async close(): Promise<void> {
    await this.#shared?.close();
  }
}
