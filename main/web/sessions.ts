import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

const SECRET_BYTES = 32;

export interface SessionsOptions {
  /** Chosen by the user: it signs in as often as it is shown. Without one, a token is made that does so once. */
  readonly token?: string | undefined;
  /** A token was used up; this is the next. */
  readonly onNewToken?: (token: string) => void;
}

/**
 * Who may use the server. A token (from the link that the user opened) is exchanged for a secret that the
 * browser keeps in a cookie, for as long as the server runs.
 */
export class Sessions {
  readonly #fixed: boolean;
  readonly #onNewToken: (token: string) => void;
  #token: string;
  /** Hashes: what is compared, looked up and kept is never the secret itself. */
  readonly #secrets = new Set<string>();

  constructor({ token, onNewToken = () => undefined }: SessionsOptions = {}) {
    this.#fixed = token !== undefined;
    this.#token = token ?? newSecret();
    this.#onNewToken = onNewToken;
  }

  /** What the next browser has to show. */
  get token(): string {
    return this.#token;
  }

  /** @returns the secret of a new session; undefined for a wrong token */
  exchange(token: string): string | undefined {
    if (!timingSafeEqual(digest(token), digest(this.#token))) return undefined;
    const secret = newSecret();
    this.#secrets.add(digest(secret).toString('hex'));
    if (!this.#fixed) {
      this.#token = newSecret();
      this.#onNewToken(this.#token);
    }
    return secret;
  }

  isOpen(secret: string | undefined): boolean {
    return secret !== undefined && this.#secrets.has(digest(secret).toString('hex'));
  }
}

function newSecret(): string {
  return randomBytes(SECRET_BYTES).toString('base64url');
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
