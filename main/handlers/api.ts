import { implement } from '@orpc/server';
import { contract } from '../contract/api.ts';
import { appRouter, type AppContext } from './app.ts';
import { comfyuiRouter } from './comfyui.ts';
import { demoRouter, type DemoContext } from './demo.ts';
import { devicesRouter, type DevicesContext } from './devices.ts';
import { jobsRouter } from './jobs.ts';
import { libraryRouter } from './library.ts';
import { loraWorkRouter } from './lora-work.ts';
import { lorasRouter, type LorasContext } from './loras.ts';
import { modelsRouter, type ModelsContext } from './models.ts';
import { recipeRouter, type RecipeContext } from './recipe.ts';
import { setsRouter } from './sets.ts';

/** What every procedure is given by the wire that brought it: who asks, and the services. */
export type ApiContext = AppContext & DemoContext & DevicesContext & LorasContext & ModelsContext & RecipeContext;

/** All procedures of the contract. */
export const router = implement(contract)
  .$context<ApiContext>()
  .router({
    app: appRouter,
    comfyui: comfyuiRouter,
    demo: demoRouter,
    devices: devicesRouter,
    jobs: jobsRouter,
    library: libraryRouter,
    loras: { ...lorasRouter, ...loraWorkRouter },
    models: modelsRouter,
    recipe: recipeRouter,
    sets: setsRouter,
  });
