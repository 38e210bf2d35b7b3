import { implement } from '@orpc/server';
import type { CreateJob } from '../contract/job.ts';
import type { ModelsChoice } from '../contract/models.ts';
import { recipeContract } from '../contract/recipe.ts';
import { modelsFor } from '../weights/catalogue.ts';
import type { AppContext } from './app.ts';
import { answerErrors } from './base.ts';
import type { JobsContext } from './jobs.ts';
import type { ModelsContext } from './models.ts';

type RecipeContext = Pick<AppContext, 'settings'> & Pick<ModelsContext, 'models'> & Pick<JobsContext, 'modelsForJobs'>;

const recipe = implement(recipeContract).$context<RecipeContext>().use(answerErrors);

export const recipeRouter = recipe.router({
  estimate: recipe.estimate.handler(async ({ input, context }) => {
    // It brings onnxruntime with it, which a start of the app doesn't need.
    const { planJob } = await import('../pipelines/plan.ts');
    const { models, memory = context.settings.get().memory, ...rest } = input;
    const { networks, ...estimate } = planJob({ ...rest, memory, models: models ?? (await whereTheyLie(rest, context)) });
    return { ...estimate, networks: [...networks] };
  }),
});

async function whereTheyLie(
  { target, experts }: Pick<CreateJob, 'target' | 'experts'>,
  { models, modelsForJobs }: RecipeContext,
): Promise<ModelsChoice> {
  const set = modelsForJobs?.();
  if (set !== undefined) return set;
  const store = await models();
  return store.locate(modelsFor(target, experts.map(({ name }) => name))); // prettier-ignore
}
