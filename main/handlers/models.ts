import { implement } from '@orpc/server';
import { modelsContract } from '../contract/models-api.ts';
import type { JobQueue } from '../jobs/queue.ts';
import type { ModelStore } from '../pipelines/model-store.ts';
import { modelsById } from '../weights/catalogue.ts';
import { checkLicences } from '../weights/hub/licences.ts';
import { answerErrors } from './base.ts';

export interface ModelsContext {
  readonly queue: JobQueue;
  /** Loaded when it is first asked for. */
  readonly models: () => Promise<ModelStore>;
}

const models = implement(modelsContract).$context<ModelsContext>().use(answerErrors);

export const modelsRouter = models.router({
  list: models.list.handler(async ({ input: { folders }, context, signal }) => {
    const store = await context.models();
    return store.list(folders, { signal });
  }),
  scan: models.scan.handler(async ({ input: { folders }, context, signal }) => {
    const store = await context.models();
    const { models: found, others, troubles } = await store.scan(folders, { signal });
    return { models: [...found], others, troubles: troubles.map((error) => error.toShape()) };
  }),
  licence: models.licence.handler(({ input: { model } }) => {
    const [{ licence }] = modelsById([model]);
    return { ...licence };
  }),
  pull: models.pull.handler(({ input, context: { queue } }) => {
    const entries = modelsById(input.models);
    checkLicences(entries, input.acceptedLicences);
    return queue.enqueue({ kind: 'download', title: `Download ${titlesOf(entries)}`, input: { kind: 'download', ...input } });
  }),
  verify: models.verify.handler(({ input, context: { queue } }) => {
    const what = input.models ? titlesOf(modelsById(input.models)) : 'all models';
    return queue.enqueue({ kind: 'verify', title: `Verify ${what}`, input: { kind: 'verify', ...input } });
  }),
  remove: models.remove.handler(async ({ input, context }) => {
    const store = await context.models();
    return { removed: await store.remove(modelsById(input.models)) };
  }),
});

function titlesOf(entries: readonly { readonly title: string }[]): string {
  return entries.map(({ title }) => title).join(', ').slice(0, 450); // prettier-ignore
}
