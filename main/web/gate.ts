import type { IncomingMessage } from 'node:http';
import { I2lError } from '../contract/errors.ts';
import { isCrossSite, isOwnHost, isSameOrigin } from './same-origin.ts';
import type { Sessions } from './sessions.ts';

/** Why a request is turned away, with its HTTP status. */
export interface Refusal {
  readonly status: number;
  readonly error: I2lError;
}

export interface GateOptions {
  readonly sessions: Sessions;
  /** Names by which this server may be called, in lower case, beside addresses in numbers. */
  readonly names: readonly string[];
  /** Several servers of one machine share its cookies: the name tells them apart. */
  readonly cookie: string;
}

/** Looks at every request before anything else does. */
export class Gate {
  readonly #options: GateOptions;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /** Asked of the right server, and not by another site's page. */
  refuseForeign({ headers, method }: IncomingMessage): Refusal | undefined {
    if (!isOwnHost(headers, this.#options.names)) {
      const names = this.#options.names.join(', ');
      const message = `This server is not called by this name; use its address in numbers, or one of: ${names}. Others are allowed by --allow-host.`;
      return refusal(421, message);
    }
    const changes = method !== 'GET' && method !== 'HEAD';
    if ((changes || headers.origin !== undefined) && !isSameOrigin(headers)) return refusal(403, 'Another site may not ask this.');
    return undefined;
  }

  /** By the user's browser, and from our own page. */
  refuseStranger(message: IncomingMessage): Refusal | undefined {
    if (isCrossSite(message.headers)) return refusal(403, 'Another site may not ask this.');
    const secret = cookieOf(message.headers.cookie, this.#options.cookie);
    if (this.#options.sessions.isOpen(secret)) return undefined;
    return refusal(401, 'Sign in first: open the link that i2l serve shows.');
  }

  /** A page's script can't read the cookie, nor can another site's page make the browser send it. */
  cookieFor(secret: string): string {
    return `${this.#options.cookie}=${secret}; Path=/; HttpOnly; SameSite=Strict`;
  }
}

function refusal(status: number, message: string): Refusal {
  return { status, error: new I2lError('BAD_ARGUMENT', message) };
}

function cookieOf(header: string | undefined, name: string): string | undefined {
  const pairs = (header ?? '').split(';').map((pair) => pair.trim());
  return pairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1);
}
