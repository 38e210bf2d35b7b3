import { implement } from '@orpc/server';
import { I2lError } from '../contract/errors.ts';
import type { CreateJob } from '../contract/job.ts';
import { modelsContract } from '../contract/models-api.ts';
import type { HubName, PullSource } from '../contract/models.ts';
import type { JobQueue } from '../jobs/queue.ts';
import { eightBitFolder, listEightBitCopies, removeEightBitCopies } from '../pipelines/eight-bit-folder.ts';
import type { ModelStore } from '../pipelines/model-store.ts';
import { modelsById } from '../weights/catalogue.ts';
import { checkLicences } from '../weights/hub/licences.ts';
import { makeSource } from '../weights/hub/sources.ts';
import { answerErrors } from './base.ts';
import type { SetsContext } from './sets.ts';

/** Keeps secrets as the system does; a server has none. */
export interface TokenKeeper {
  readonly canKeep: boolean;
  get(hub: HubName): Promise<string | undefined>;
  /** @param token null forgets it */
  keep(hub: HubName, token: string | null): Promise<void>;
}

export interface ModelsContext extends Pick<SetsContext, 'allowPath'> {
  readonly queue: JobQueue;
  /** Loaded when it is first asked for. */
  readonly models: () => Promise<ModelStore>;
  readonly tokens?: TokenKeeper | undefined;
  readonly dataFolder: string;
}

const models = implement(modelsContract).$context<ModelsContext>().use(answerErrors);

export const modelsRouter = models.router({
  overview: models.overview.handler(async ({ context, signal }) => {
    const store = await context.models();
    const overview = await store.overview({ signal });
    const isFirstStart =
      context.queue.list({ limit: 1, offset: 0 }).length === 0 && overview.models.every(({ state }) => state === 'missing');
    return { ...overview, isFirstStart, canKeepTokens: context.tokens?.canKeep ?? false };
  }),
  keepToken: models.keepToken.handler(async ({ input: { hub, token }, context: { tokens } }) => {
    if (!tokens) {
      const message = 'A server keeps no tokens; set HF_TOKEN or MODELSCOPE_API_TOKEN before you start it.';
      throw new I2lError('BAD_ARGUMENT', message, { option: 'token', reason: 'no-token-store' });
    }
    if (token !== null) makeSource(hub, undefined, token);
    await tokens.keep(hub, token);
    return {};
  }),
  list: models.list.handler(async ({ input: { folders }, context, signal }) => {
    const store = await context.models();
    return store.list(folders.map(context.allowPath), { signal });
  }),
  scan: models.scan.handler(async ({ input: { folders }, context, signal }) => {
    const store = await context.models();
    const { models: found, others, troubles } = await store.scan(folders.map(context.allowPath), { signal });
    return { models: [...found], others, troubles: troubles.map((error) => error.toShape()) };
  }),
  licence: models.licence.handler(({ input: { model } }) => {
    const [{ licence }] = modelsById([model]);
    return { ...licence };
  }),
  pull: models.pull.handler(({ input, context: { queue } }) => {
    const entries = modelsById(input.models);
    checkLicences(entries, input.acceptedLicences);
    if (input.endpoint !== undefined) checkMirror(input.source, input.endpoint);
    return queue.enqueue({ kind: 'download', title: `Download ${titlesOf(entries)}`, input: { kind: 'download', ...input } });
  }),
  verify: models.verify.handler(({ input, context: { queue } }) => {
    const what = input.models ? titlesOf(modelsById(input.models)) : 'all models';
    return queue.enqueue({ kind: 'verify', title: `Verify ${what}`, input: { kind: 'verify', ...input } });
  }),
  copies: models.copies.handler(({ context: { dataFolder } }) => listEightBitCopies(eightBitFolder(dataFolder))),
  removeCopies: models.removeCopies.handler(({ context: { dataFolder, queue } }) => {
    if (usesCopies(queue)) {
      const message = 'A job uses the 8-bit copies; delete them when it is done.';
      throw new I2lError('JOB_STATE', message, { reason: 'copies-in-use' });
    }
    return { bytes: removeEightBitCopies(eightBitFolder(dataFolder)) };
  }),
  remove: models.remove.handler(async ({ input, context }) => {
    const store = await context.models();
    return { removed: await store.remove(modelsById(input.models)) };
  }),
});

/** Here rather than in the job, so that who typed it hears of it. @throws I2lError BAD_ARGUMENT */
function checkMirror(source: PullSource, endpoint: string): void {
  if (source !== 'auto') return void makeSource(source, endpoint);
  throw new I2lError('BAD_ARGUMENT', 'A mirror needs a hub that it is a mirror of: choose Hugging Face or ModelScope.', {
    endpoint,
    reason: 'mirror-without-hub',
  });
}

function titlesOf(entries: readonly { readonly title: string }[]): string {
  return entries.map(({ title }) => title).join(', ');
}

function usesCopies(queue: JobQueue): boolean {
  const running = queue.list().filter(({ state, lane }) => state === 'running' && lane === 'engine');
  return running.some(({ id }) => (queue.get(id).input as Partial<CreateJob> | null)?.eightBit !== undefined);
}
