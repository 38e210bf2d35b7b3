import type { ClientContext, ClientLink, ClientOptions } from '@orpc/client';
import { I2lError } from '../../../main/contract/errors.ts';
import { errorFromWire } from '../../../main/contract/wire-errors.ts';
import { SignedOut, type Wire } from './wire.ts';

/** 'signed-out': the server doesn't know this browser; only the user can help. */
export type ConnectionState = 'connecting' | 'open' | 'reconnecting' | 'signed-out';

const FIRST_WAIT = 250;
const LONGEST_WAIT = 8000;
/** Another tab may sign in meanwhile. */
const ASK_USER = 60_000;

/** Milliseconds to wait before a try, doubling; the chance part keeps many tabs from coming at once. */
export function waitBefore(tries: number, chance: number): number {
  return Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** tries) * (0.75 + chance / 2);
}

/** Keeps a wire to the app open: a link that outlives its wires. Calls wait while there is none. */
export class Connection implements ClientLink<ClientContext> {
  state = $state<ConnectionState>('connecting');
  readonly #open: () => Promise<Wire>;
  #wire: Promise<Wire>;
  #retryNow: (() => void) | undefined;

  constructor(open: () => Promise<Wire>) {
    this.#open = open;
    this.#wire = this.#connect();
  }

  async call(path: readonly string[], input: unknown, options: ClientOptions<ClientContext>): Promise<unknown> {
    const wire = await this.#wire;
    const lost = wire.ended.then((): never => {
      throw new I2lError('CONNECTION_LOST', 'The connection to the app was lost before it answered; try again.');
    });
    lost.catch(() => undefined);
    try {
      return await Promise.race([wire.link.call(path, input, options), lost]);
    } catch (thrown) {
      throw errorFromWire(thrown);
    }
  }

  /** Without waiting for the next try. */
  retry(): void {
    this.#retryNow?.();
  }

  async #connect(): Promise<Wire> {
    for (let tries = 0; ; tries++) {
      try {
        const wire = await this.#open();
        this.state = 'open';
        void wire.ended.then(() => this.#lose());
        return wire;
      } catch (thrown) {
        // The state is what the user needs to know: there are two reasons only.
        this.state = thrown instanceof SignedOut ? 'signed-out' : 'reconnecting';
        await this.#wait(this.state === 'signed-out' ? ASK_USER : waitBefore(tries, Math.random()));
      }
    }
  }

  #lose(): void {
    this.state = 'reconnecting';
    this.#wire = this.#connect();
  }

  #wait(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#retryNow = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
