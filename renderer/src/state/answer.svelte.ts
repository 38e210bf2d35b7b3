import { I2lError } from '../../../main/contract/errors.ts';

export type AnswerState = 'idle' | 'loading' | 'ready' | 'failed';

/** What was asked of the app and what came of it. A later question makes the answer to an earlier one void. */
export class Answer<Value> {
  state = $state<AnswerState>('idle');
  /** The latest good answer; kept while the next is on its way. */
  value = $state.raw<Value | undefined>(undefined);
  error = $state.raw<I2lError | undefined>(undefined);
  #asked = 0;

  async ask(question: () => Promise<Value>): Promise<void> {
    const turn = ++this.#asked;
    this.state = 'loading';
    try {
      const value = await question();
      if (turn === this.#asked) this.#settle('ready', value, undefined);
    } catch (thrown) {
      if (turn === this.#asked) this.#settle('failed', this.value, I2lError.from(thrown));
    }
  }

  clear(): void {
    this.#asked++;
    this.#settle('idle', undefined, undefined);
  }

  #settle(state: AnswerState, value: Value | undefined, error: I2lError | undefined): void {
    this.state = state;
    this.value = value;
    this.error = error;
  }
}
