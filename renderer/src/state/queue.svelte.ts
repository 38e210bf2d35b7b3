import type { I2lError } from '../../../main/contract/errors.ts';
import type { JobView, QueueEvent, QueueView } from '../../../main/contract/queue.ts';
import { api, follow } from '../api/client.ts';
import { applyEvent, sectionsOf, type Jobs } from './queue-mirror.ts';

/** The queue, as it is. */
class Queue {
  #jobs = $state.raw<Jobs>(new Map());
  view = $state.raw<QueueView>({ paused: false, problem: null });
  /** False until the first snapshot. */
  known = $state(false);
  failure = $state.raw<I2lError | undefined>(undefined);
  readonly #sections = $derived(sectionsOf(this.#jobs));

  get running(): readonly JobView[] {
    return this.#sections.running;
  }

  get waiting(): readonly JobView[] {
    return this.#sections.waiting;
  }

  get finished(): readonly JobView[] {
    return this.#sections.finished;
  }

  /** All that have not ended, in the order in which they run. */
  get active(): readonly JobView[] {
    return [...this.running, ...this.waiting];
  }

  job(id: number): JobView | undefined {
    return this.#jobs.get(id);
  }

  start(): void {
    void follow(
      () => api.jobs.watch(),
      (event) => this.#apply(event),
      (error) => (this.failure = error),
    );
  }

  #apply(event: QueueEvent): void {
    this.#jobs = applyEvent(this.#jobs, event);
    if (event.queue) this.view = event.queue;
    this.known = true;
    this.failure = undefined;
  }
}

export const queue = new Queue();
