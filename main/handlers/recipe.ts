import { join } from 'node:path';
import { implement } from '@orpc/server';
import { I2lError } from '../contract/errors.ts';
import { EXPERTS_OF, type ExpertName, type TargetId } from '../contract/experts.ts';
import type { CreateJob, SetJob } from '../contract/job.ts';
import type { ModelsChoice } from '../contract/models.ts';
import type { JobView } from '../contract/queue.ts';
import { recipeContract, type Estimate, type ExpertOption } from '../contract/recipe.ts';
import type { ImageSet } from '../contract/sets.ts';
import type { Library } from '../library/library.ts';
import { eightBitFolder } from '../pipelines/eight-bit-folder.ts';
import { modelsById, modelsFor } from '../weights/catalogue.ts';
import { locateModel } from '../weights/locate.ts';
import type { AppContext } from './app.ts';
import { answerErrors } from './base.ts';
import type { JobsContext } from './jobs.ts';
import type { ModelsContext } from './models.ts';
import type { SetsContext } from './sets.ts';

export interface RecipeContext
  extends SetsContext, JobsContext, Pick<ModelsContext, 'models'>, Pick<AppContext, 'dataFolder' | 'settings'> {
  /** Where jobs that are made now find their models; else they are looked for. */
  readonly modelsForJobs?: () => string | undefined;
}

const recipe = implement(recipeContract).$context<RecipeContext>().use(answerErrors);

export const recipeRouter = recipe.router({
  options: recipe.options.handler(async ({ input: { target }, context }) => {
    const experts = EXPERTS_OF[target];
    const missing = new Set(await missingOf(modelsFor(target, experts), context));
    return { experts: experts.map((name) => optionOf(target, name, missing)) };
  }),
  estimate: recipe.estimate.handler(async ({ input: { images, setIds, ...rest }, context }) => {
    const counts = setIds?.map((id) => usedImages(usableSet(context.library, id)).length) ?? [images ?? 1];
    return estimateOf(counts, rest, context);
  }),
  create: recipe.create.handler(({ input, context }) => {
    const sets = input.setIds.map((id) => usableSet(context.library, id));
    return enqueue(context, sets, input);
  }),
});

interface Costed extends Pick<CreateJob, 'target' | 'experts' | 'dtype'> {
  readonly memory?: number | undefined;
}

/** @param counts images of each LoRA */
async function estimateOf(counts: readonly number[], { memory, ...choice }: Costed, context: RecipeContext): Promise<Estimate> {
  // It brings onnxruntime with it, which a start of the app doesn't need.
  const { planJobOf } = await import('../pipelines/plan.ts');
  const estimate = planJobOf(counts, {
    ...choice,
    memory: memory ?? context.settings.get().memory,
    models: await whereTheyLie(choice, context),
    stays: context.settings.get().keepEncoders,
    ...eightBitOf(context),
  });
  return { ...estimate, networks: [...estimate.networks], copies: [...estimate.copies], loras: counts.length };
}

interface Wish extends Pick<CreateJob, 'target' | 'experts' | 'dtype' | 'keyForm' | 'skipBad'> {
  readonly name?: string | undefined;
}

function enqueue(context: RecipeContext, sets: readonly ImageSet[], { name, ...wish }: Wish): JobView {
  const names = sets.map((set) => (sets.length === 1 ? name : undefined) ?? set.name);
  const outputs = context.library.freeFiles.forEachNew(names);
  const { memory, device, threads, embeddingCacheBytes } = context.settings.get();
  const models = context.modelsForJobs?.();
  const input: CreateJob = {
    kind: 'create',
    ...wish,
    // It keeps the models that it was made for, whatever is set when its turn comes.
    ...(models === undefined ? {} : { models }),
    sets: sets.map((set, i): SetJob => ({
      output: outputs[i] ?? '',
      images: usedImages(set).map(({ file, weight }) => ({ file, weight })),
      library: { name: names[i], setId: set.id },
    })),
    cache: { folder: join(context.dataFolder, 'cache', 'embeddings'), limit: embeddingCacheBytes },
    memory,
    device,
    threads,
    ...eightBitOf(context),
  };
  return context.queue.enqueue({ kind: 'create', title: names.join(', '), input });
}

function eightBitOf({ settings, dataFolder }: RecipeContext): Pick<CreateJob, 'eightBit'> {
  const { fastEncoders, device } = settings.get();
  // Another device takes the weights as they are.
  return fastEncoders && (device === 'cpu' || device === 'auto') ? { eightBit: { folder: eightBitFolder(dataFolder) } } : {};
}

function usedImages({ images }: ImageSet): ImageSet['images'] {
  return images.filter(({ weight }) => weight > 0);
}

/** @throws I2lError NOT_IN_LIBRARY, NO_IMAGES */
function usableSet({ sets }: Library, id: number): ImageSet {
  const set = sets.get(id);
  if (set.trashedAt !== null) {
    throw new I2lError('NOT_IN_LIBRARY', `${set.name}: this image set is in the trash; restore it first.`, {
      set: id,
      name: set.name,
      reason: 'in-trash',
    });
  }
  if (usedImages(set).length === 0) {
    throw new I2lError('NO_IMAGES', `${set.name}: no image of this set has a weight above 0; add one, or raise one.`, {
      set: id,
      name: set.name,
      reason: 'no-weight',
    });
  }
  return set;
}

function optionOf(target: TargetId, name: ExpertName, missing: ReadonlySet<string>): ExpertOption {
  const own = modelsFor(target, [name]).filter((id) => missing.has(id));
  return {
    name,
    isReady: own.length === 0,
    missing: modelsById(own).map(({ id, title, bytes }) => ({ id, title, ...(bytes === null ? {} : { bytes }) })),
  };
}

/** Those of some models that jobs made now would not find. @throws I2lError what locate gives but MODEL_MISSING */
async function missingOf(ids: readonly string[], { models, modelsForJobs }: RecipeContext): Promise<string[]> {
  const folder = modelsForJobs?.();
  if (folder !== undefined) return ids.filter((id) => missingBy(() => locateModel(folder, id)).length > 0);
  const store = await models();
  const located = await store.locate(ids).catch((error: unknown) => I2lError.from(error));
  return missingBy(() => {
    if (located instanceof I2lError) throw located;
  });
}

/** The models that a search says are missing. @throws I2lError all else that it throws */
function missingBy(search: () => unknown): string[] {
  try {
    search();
    return [];
  } catch (thrown) {
    const { code, fields } = I2lError.from(thrown);
    if (code !== 'MODEL_MISSING') throw thrown;
    return [fields['models'] ?? fields['model']].flat().map(String);
  }
}

async function whereTheyLie(
  { target, experts }: Pick<CreateJob, 'target' | 'experts'>,
  { models, modelsForJobs }: RecipeContext,
): Promise<ModelsChoice> {
  const set = modelsForJobs?.();
  if (set !== undefined) return set;
  const store = await models();
  return store.locate(modelsFor(target, experts.map(({ name }) => name))); // prettier-ignore
}
