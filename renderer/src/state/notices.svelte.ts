import { I2lError } from '../../../main/contract/errors.ts';
import type { Dictionary } from '../i18n/en/index.ts';
import type { Format } from '../i18n/format.ts';

/** What is told, in the language that the window has when it is shown. */
type Saying = (words: Dictionary, format: Format) => string;

export interface NoticeAction {
  readonly label: Saying;
  readonly run: () => void;
}

/** A short message at the edge of the window. Errors stay until they are closed. */
type Content = { readonly text: Saying; readonly action?: NoticeAction | undefined } | { readonly error: I2lError };

export type Notice = Content & { readonly id: number };

const SHOWN_FOR = 7000;
const MOST = 4;

class Notices {
  list = $state.raw<readonly Notice[]>([]);
  #next = 1;

  say(text: Saying, action?: NoticeAction): void {
    const id = this.#add({ text, action });
    setTimeout(() => this.close(id), SHOWN_FOR);
  }

  fail(thrown: unknown): void {
    const error = I2lError.from(thrown);
    if (error.code === 'CANCELLED') return;
    this.#add({ error });
  }

  /** Runs what a button asked for, and tells what goes wrong. @returns whether it went well */
  async attempt(work: () => Promise<unknown>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (thrown) {
      this.fail(thrown);
      return false;
    }
  }

  close(id: number): void {
    this.list = this.list.filter((notice) => notice.id !== id);
  }

  #add(content: Content): number {
    const id = this.#next++;
    this.list = [...this.list, { id, ...content }].slice(-MOST);
    return id;
  }
}

export const notices = new Notices();
