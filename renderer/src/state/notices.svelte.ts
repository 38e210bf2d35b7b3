import { I2lError } from '../../../main/contract/errors.ts';

/** Short messages at the edge of the window. Errors stay until they are closed. */
export interface Notice {
  readonly id: number;
  readonly text: string;
  readonly error?: I2lError;
  readonly action?: { readonly label: string; readonly run: () => void };
}

const SHOWN_FOR = 7000;
const MOST = 4;

class Notices {
  list = $state.raw<readonly Notice[]>([]);
  #next = 1;

  say(text: string, action?: Notice['action']): void {
    const id = this.#add(action ? { text, action } : { text });
    setTimeout(() => this.close(id), SHOWN_FOR);
  }

  fail(thrown: unknown): void {
    const error = I2lError.from(thrown);
    if (error.code === 'CANCELLED') return;
    this.#add({ text: error.message, error });
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

  #add(notice: Omit<Notice, 'id'>): number {
    const id = this.#next++;
    this.list = [...this.list, { id, ...notice }].slice(-MOST);
    return id;
  }
}

export const notices = new Notices();
