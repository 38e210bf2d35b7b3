import { implement } from '@orpc/server';
import type { CreateJob } from '../contract/job.ts';
import type { ModelsChoice } from '../contract/models.ts';
import { recipeContract } from '../contract/recipe.ts';
import { modelsFor } from '../weights/catalogue.ts';
import type { AppContext } from './app.ts';
import { answerErrors } from './base.ts';
import type { ModelsContext } from './models.ts';

const recipe = implement(recipeContract).$context<Pick<AppContext, 'settings'> & Pick<ModelsContext, 'models'>>().use(answerErrors);

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
  { models }: Pick<ModelsContext, 'models'>,
): Promise<ModelsChoice> {
  const store = await models();
  return store.locate(modelsFor(target, experts.map(({ name }) => name))); // prettier-ignore
}
