import { expect } from '@playwright/test';
import { hasEnded } from '../../main/contract/queue.ts';
import type { AppClient } from './client.ts';
import { examplePath } from './create-screen.ts';

/** Names of LoRAs, each with the examples that it is made of. */
export type NamedLoras = readonly (readonly [name: string, images: readonly string[]])[];

/** Real LoRAs of photographs, made by the demo's models in one job: one of each image set of that name. */
export async function createLoras(client: AppClient, loras: NamedLoras): Promise<void> {
  const { api } = client;
  const setIds: number[] = [];
  for (const [name, images] of loras) setIds.push(await makeSet(client, name, images.map(examplePath)));
  const { id } = await api.recipe.create({ setIds, target: 'qwen-image', experts: [{ name: 'style', strength: 1 }] });
  await expect.poll(async () => hasEnded((await api.jobs.get({ id })).state), { timeout: 60_000 }).toBe(true);
  expect((await api.jobs.get({ id })).state).toBe('done');
}

/** @returns the id of an image set of these files */
export async function makeSet({ api, choose }: AppClient, name: string, files: readonly string[]): Promise<number> {
  const { id } = await api.sets.create({ name });
  await choose(files);
  for await (const event of await api.sets.addImages({ id, files: [...files] }))
    if (event.type === 'done') expect(event.failed).toEqual([]);
  return id;
}
