import { implement } from '@orpc/server';
import { jobsContract } from '../contract/queue.ts';
import type { JobQueue } from '../jobs/queue.ts';
import { answerErrors } from './base.ts';

export interface JobsContext {
  readonly queue: JobQueue;
}

const jobs = implement(jobsContract).$context<JobsContext>().use(answerErrors);

/**
 * The queue's procedures. Everything they do survives a window, a wire and a client. None makes a job of its input, which
 * names any files: the procedures of recipes and of LoRAs make the jobs that a client may want.
 */
export const jobsRouter = jobs.router({
  list: jobs.list.handler(({ input, context: { queue } }) => queue.list(input)),
  get: jobs.get.handler(({ input: { id }, context: { queue } }) => queue.get(id)),
  log: jobs.log.handler(({ input: { id }, context: { queue } }) => queue.log(id)),
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
