import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import type { BuiltGraph } from '../onnx/graph.ts';
import { Session, type SessionOptions } from '../onnx/runtime.ts';
import type { JoinedGroup, NetworkRun } from './group.ts';
import { modelKey, SessionCache } from './session-cache.ts';
import { heldBytes, type KeptSession, type SessionKeeper } from './session-keeper.ts';

/** A group that is about to run. */
export interface ReadyGroup {
  readonly joined: JoinedGroup;
  /** What tells its session apart from all others; absent where that can't be kept. */
  readonly key: string | undefined;
  /** What an earlier job has left: it needs no weights. */
  readonly kept: KeptSession | undefined;
}

/**
 * A session for each group; groups whose weights are fed share those of their kind. Sessions that lay their weights out
 * anew may be kept for the next job: the others hold nothing that would be worth it.
 */
export class GroupSessions {
  readonly #options: SessionOptions;
  readonly #keeper: SessionKeeper | undefined;
  readonly #isShared: boolean;
  readonly #shared: SessionCache;

  constructor({ session, plan, keeper }: NetworkRun) {
    this.#options = session;
    this.#keeper = keeper;
    this.#isShared = plan.weightsAs === 'fed';
    this.#shared = new SessionCache(session);
  }

  /** Looks whether its session is there. */
  ready(joined: JoinedGroup): ReadyGroup {
    const canStay = this.#keeper !== undefined && !this.#isShared && joined.built.packedBytes > 0;
    const key = canStay ? keptKey(joined.built, this.#options) : undefined;
    return { joined, key, kept: key === undefined ? undefined : this.#keeper?.find(key) };
  }

  /** @throws I2lError SESSION_FAILED */
  async open({ joined: { built }, kept }: ReadyGroup): Promise<KeptSession> {
    if (kept) return kept;
    return this.#isShared ? this.#shared.get(modelKey(built), () => built) : Session.create(built, this.#options);
  }

  /** It has done its work: the next job may find it. */
  async keep(ready: ReadyGroup, session: KeptSession, createMs: number): Promise<void> {
    const { key, kept, joined } = ready;
    if (kept) return;
    if (key === undefined || !this.#keeper) return this.release(ready, session);
    const weights = joined.built.weights.map(({ range }) => range);
    await this.#keeper.keep(key, session, {
      name: joined.name,
      bytes: heldBytes([{ weights, packed: joined.built.packedBytes }]),
      savedMs: createMs,
    });
  }

  /** It has failed, or is of no use to anybody else. */
  async release({ kept }: ReadyGroup, session: KeptSession): Promise<void> {
    if (!this.#isShared && !kept) await session.release();
  }

  close(): Promise<void> {
    return this.#shared.close();
  }
}

/** Weights that were changed meanwhile, or another file in their place, have other times. */
function keptKey({ model, weightsFolder = '', weights }: BuiltGraph, { device, threads }: SessionOptions): string {
  const hash = createHash('sha256').update(model);
  for (const file of new Set(weights.map(({ range }) => range.file))) {
    // One that has gone is an error of the session that is made next, which names it.
    const { size, mtimeNs, ctimeNs, ino } = statSync(file, { bigint: true, throwIfNoEntry: false }) ?? {};
    hash.update(`\0${file} ${size} ${mtimeNs} ${ctimeNs} ${ino}`);
  }
  return hash.update(`\0${weightsFolder}\0${device} ${threads}`).digest('hex');
}
