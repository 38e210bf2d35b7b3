import { join } from 'node:path';
import { expect } from '@playwright/test';
import { hasEnded } from '../../main/contract/queue.ts';
import type { AppClient } from './client.ts';
import { examplePath } from './create-screen.ts';
import type { RunningApp } from './running-app.ts';

/** Names of LoRAs, each with the examples that it is made of. */
export type NamedLoras = readonly (readonly [name: string, images: readonly string[]])[];

/** Real LoRAs of photographs, made by the demo's models in one job. */
export async function createLoras({ api }: AppClient, { home }: RunningApp, loras: NamedLoras): Promise<void> {
  const { memory, device, threads } = await api.app.settings.get();
  const sets = loras.map(([name, images]) => ({
    output: join(home, 'loras', `${name}.safetensors`),
    images: images.map((image) => ({ file: examplePath(image), weight: 1 })),
    library: { name },
  }));
  const input = {
    ...{ kind: 'create', sets, target: 'qwen-image', experts: [{ name: 'style', strength: 1 }], skipBad: false },
    ...{ dtype: 'bf16', keyForm: 'comfyui', memory, device, threads },
  };
  const { id } = await api.jobs.enqueue({ kind: 'create', title: `${loras.length} LoRAs`, input });
  await expect.poll(async () => hasEnded((await api.jobs.get({ id })).state), { timeout: 60_000 }).toBe(true);
  expect((await api.jobs.get({ id })).state).toBe('done');
}
