import type { ContractRouterClient } from '@orpc/contract';
import { appContract } from './app.ts';
import { comfyuiContract } from './comfyui.ts';
import { libraryContract } from './library.ts';
import { loraWorkContract } from './lora-work.ts';
import { lorasContract } from './loras.ts';
import { demoContract, modelsContract } from './models-api.ts';
import { devicesContract } from './devices-api.ts';
import { jobsContract } from './queue.ts';
import { recipeContract } from './recipe.ts';
import { setsContract } from './sets.ts';

/** All that can be asked of the app, over whichever wire. */
export const contract = {
  app: appContract,
  comfyui: comfyuiContract,
  demo: demoContract,
  devices: devicesContract,
  jobs: jobsContract,
  library: libraryContract,
  loras: { ...lorasContract, ...loraWorkContract },
  models: modelsContract,
  recipe: recipeContract,
  sets: setsContract,
};

/** What every wire's client end is. */
export type Api = ContractRouterClient<typeof contract>;
