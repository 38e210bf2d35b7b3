import { implement } from '@orpc/server';
import { I2lError } from '../contract/errors.ts';
import { jobsContract } from '../contract/queue.ts';
import type { JobQueue } from '../jobs/queue.ts';
import { answerErrors, type AskerContext } from './base.ts';

export interface JobsContext {
  readonly queue: JobQueue;
  /** Where jobs that are made now find their models, unless they say so themselves; else they are looked for. */
  readonly modelsForJobs?: () => string | undefined;
}

const jobs = implement(jobsContract).$context<JobsContext & AskerContext>().use(answerErrors);

/** The queue's procedures. Everything they do survives a window, a wire and a client. */
export const jobsRouter = jobs.router({
  list: jobs.list.handler(({ input, context: { queue } }) => queue.list(input)),
  get: jobs.get.handler(({ input: { id }, context: { queue } }) => queue.get(id)),
  log: jobs.log.handler(({ input: { id }, context: { queue } }) => queue.log(id)),
  enqueue: jobs.enqueue.handler(({ input, context }) => {
    // A job's input names any files; the desktop's page may name those alone that the user chose.
    if (context.mode === 'desktop') throw new I2lError('UNSUPPORTED', 'The window has a procedure for each job that it wants.');
    return context.queue.enqueue(withModels(input, context.modelsForJobs?.()));
  }),
  pause: jobs.pause.handler(({ input: { id }, context: { queue } }) => queue.pause(id)),
  resume: jobs.resume.handler(({ input: { id }, context: { queue } }) => queue.resume(id)),
  cancel: jobs.cancel.handler(({ input: { id }, context: { queue } }) => queue.cancel(id)),
  retry: jobs.retry.handler(({ input: { id, ...options }, context: { queue } }) => queue.retry(id, options)),
  requeue: jobs.requeue.handler(({ input: { id }, context: { queue } }) => queue.requeue(id)),
  reorder: jobs.reorder.handler(({ input: { id, before }, context: { queue } }) => queue.reorder(id, before)),
  setPriority: jobs.setPriority.handler(({ input: { id, priority }, context: { queue } }) => queue.setPriority(id, priority)),
  remove: jobs.remove.handler(({ input: { id }, context: { queue } }) => {
    queue.remove(id);
    return {};
  }),
  clearFinished: jobs.clearFinished.handler(({ input: { states }, context: { queue } }) => ({
    removed: queue.clearFinished(states),
  })),
  watch: jobs.watch.handler(({ context: { queue }, signal }) => queue.events.watch(signal)),
  queue: jobs.queue.handler(({ context: { queue } }) => queue.events.queue),
  pauseQueue: jobs.pauseQueue.handler(({ input, context: { queue } }) => {
    queue.pauseQueue(input);
    return queue.events.queue;
  }),
  resumeQueue: jobs.resumeQueue.handler(({ context: { queue } }) => {
    queue.resumeQueue();
    return queue.events.queue;
  }),
});

/** A job keeps the models that it was made for, whatever is set when its turn comes. */
function withModels<Asked extends { readonly kind: string; readonly input?: unknown }>(
  asked: Asked,
  models: string | undefined,
): Asked {
  const { kind, input } = asked;
  const takesModels = kind === 'create' && typeof input === 'object' && input !== null && !('models' in input);
  return models !== undefined && takesModels ? { ...asked, input: { ...input, models } } : asked;
}
