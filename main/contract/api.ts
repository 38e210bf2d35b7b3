import type { ContractRouterClient } from '@orpc/contract';
import { appContract } from './app.ts';
import { comfyuiContract } from './comfyui.ts';
import { modelsContract } from './models-api.ts';
import { jobsContract } from './queue.ts';
import { recipeContract } from './recipe.ts';

/** All that can be asked of the app, over whichever wire. */
export const contract = {
  app: appContract,
  comfyui: comfyuiContract,
  jobs: jobsContract,
  models: modelsContract,
  recipe: recipeContract,
};

/** What every wire's client end is. */
export type Api = ContractRouterClient<typeof contract>;
