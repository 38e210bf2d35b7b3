import { implement } from '@orpc/server';
import { recipeContract } from '../contract/recipe.ts';
import { modelsFolderOf, type AppContext } from './app.ts';
import { answerErrors } from './base.ts';

const recipe = implement(recipeContract).$context<Pick<AppContext, 'settings' | 'dataFolder'>>().use(answerErrors);

export const recipeRouter = recipe.router({
  estimate: recipe.estimate.handler(async ({ input, context }) => {
    // It brings onnxruntime with it, which a start of the app doesn't need.
    const { planJob } = await import('../pipelines/plan.ts');
    const { models = modelsFolderOf(context), memory = context.settings.get().memory, ...rest } = input;
    const { networks, ...estimate } = planJob({ ...rest, models, memory });
    return { ...estimate, networks: [...networks] };
  }),
});
