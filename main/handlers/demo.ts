import { implement } from '@orpc/server';
import { demoContract } from '../contract/models-api.ts';
import type { DemoSet } from '../pipelines/demo-set.ts';
import type { SettingsStore } from '../settings/settings.ts';
import { answerErrors } from './base.ts';

export interface DemoContext {
  readonly settings: SettingsStore;
  readonly demo: DemoSet;
}

const demo = implement(demoContract).$context<DemoContext>().use(answerErrors);

export const demoRouter = demo.router({
  prepare: demo.prepare.handler(async ({ context }) => {
    const { modelsFolder, images } = await context.demo.prepare();
    await context.settings.set({ demoModels: true });
    return { modelsFolder, images: [...images] };
  }),
});
