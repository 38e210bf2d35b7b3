import { mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parse as parseYaml } from 'yaml';
import type { Job } from '../../main/contract/job.ts';
import { exportTrainingStart, type TrainerExport, type WrittenStart } from '../../main/pipelines/export-trainer.ts';
import { randomDense, run, writeLora, type TestModule } from '../lora/lora-files.ts';

/** LoRAs of few modules under real names, exported in this process. */
type EngineOption = 'memory' | 'device' | 'threads';

export function makeLora(file: string, ranks: Readonly<Record<string, number>>): readonly TestModule[] {
  mkdirSync(dirname(file), { recursive: true });
  const modules = Object.entries(ranks).map(([path, rank], i) => {
    const sizes = path.endsWith('img_mod.1') ? [12, 4] : [4, 4];
    return { path, a: randomDense(rank, sizes[1]!, 2 * i), b: randomDense(sizes[0]!, rank, 2 * i + 1) };
  });
  writeLora(file, modules);
  return modules;
}

type Without<T> = T extends unknown ? Omit<T, EngineOption> : never;

export function exported(
  request: Partial<TrainerExport> & Pick<TrainerExport, 'file' | 'trainer' | 'folder'>,
): Promise<WrittenStart> {
  return exportTrainingStart({ images: [], trigger: [], steps: 500, ...request }, { change: (job) => run(job as Without<Job>) });
}

export const read = (folder: string, name: string): string => readFileSync(join(folder, name), 'utf8');
export const readJson = <T>(folder: string, name: string): T => JSON.parse(read(folder, name)) as T;

/** As ai-toolkit reads it: ${…} by environment variables first, then YAML. */
export function readAiToolkit(folder: string, from: 'start' | 'random'): AiToolkitProcess {
  const text = read(folder, `train-from-${from}.yaml`).replace(/\$\{([^}]+)\}/g, (_, name: string) => {
    throw new Error(`the environment variable ${name} is not set`);
  });
  const { config } = parseYaml(text) as { config: { name: string; process: AiToolkitProcess[] } };
  return { ...config.process[0]!, name: config.name };
}

export interface AiToolkitProcess {
  readonly name: string;
  readonly training_folder: string;
  readonly network: {
    linear: number;
    linear_alpha: number;
    pretrained_lora_path?: string;
    network_kwargs: { only_if_contains: string[] };
  };
  readonly datasets: { folder_path: string }[];
  readonly train: { steps: number; lr: number };
  readonly model: { name_or_path: string };
}

export interface OneTrainerConfig {
  readonly lora_model_name: string;
  readonly lora_rank: number;
  readonly lora_alpha: number;
  readonly layer_filter: string;
  readonly concept_file_name: string;
  readonly base_model_name: string;
  readonly epochs: number;
}

/** The little of TOML that is written: values are JSON's. */
export function readToml(folder: string, name: string): Record<string, unknown> {
  const lines = read(folder, name).split('\n').filter((line) => line.includes(' = ')); // prettier-ignore
  return Object.fromEntries(
    lines.map((line) => [line.split(' = ')[0]!, JSON.parse(line.slice(line.indexOf(' = ') + 3)) as unknown]),
  );
}
