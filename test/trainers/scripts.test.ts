import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { TrainerId } from '../../main/contract/trainers.ts';
import { tempFolder } from '../unit/temp.ts';
import { exported, makeLora } from './exports.ts';

/** The scripts as a user runs them, with an accelerate and a python that only write down what they were given. */
const root = tempFolder();
const lora = join(root, 'style.safetensors');
const HARD_NAME = 'it\'s "my" $(style) – 画像';
const programs = join(root, 'programs');
const log = join(root, 'log');

interface Call {
  readonly folder: string;
  readonly words: readonly string[];
}

beforeAll(() => {
  makeLora(lora, { 'transformer_blocks.0.attn.to_q': 2, 'transformer_blocks.0.attn.to_k': 2 });
  mkdirSync(programs);
  for (const name of ['accelerate', 'python']) {
    const program = join(programs, name);
    writeFileSync(
      program,
      '#!/bin/sh\n{ printf "%s\\0" "$PWD" "$DIFFSYNTH_MODEL_BASE_PATH" "$(basename "$0")" "$@"; printf "\\n"; } >> "$I2L_LOG"\n',
    );
    chmodSync(program, 0o755);
  }
});

async function makeExport(trainer: TrainerId, baseModel?: string): Promise<string> {
  const folder = join(root, `${trainer} ${baseModel === undefined ? 'a' : 'b'}`, HARD_NAME);
  await exported({ file: lora, trainer, folder, baseModel, steps: 50 });
  return folder;
}

/** Puts what the user fills in into the settings at the script's top. */
function fillIn(folder: string, values: Readonly<Record<string, string>>): void {
  const script = join(folder, 'train.sh');
  let text = readFileSync(script, 'utf8');
  for (const [name, value] of Object.entries(values))
    text = text.replace(new RegExp(`^${name}=.*$`, 'm'), () => `${name}="${value}"`);
  writeFileSync(script, text);
}

function runScript(folder: string, ...args: string[]): { code: number | null; stderr: string; calls: Call[]; models: string } {
  writeFileSync(log, '');
  const env = { ...process.env, PATH: `${programs}:${process.env['PATH'] ?? ''}`, I2L_LOG: log, CDPATH: root };
  const { status, stderr } = spawnSync('bash', [join(folder, 'train.sh'), ...args], { env, encoding: 'utf8', cwd: root });
  const lines = readFileSync(log, 'utf8').split('\0\n').slice(0, -1).map((line) => line.split('\0')); // prettier-ignore
  return {
    code: status,
    stderr,
    calls: lines.map(([at = '', , ...words]) => ({ folder: at, words })),
    models: lines[0]?.[1] ?? '',
  };
}

function option({ words }: Call, name: string): string | undefined {
  const at = words.indexOf(name);
  return at < 0 ? undefined : words[at + 1];
}

const without = ({ words }: Call, ...names: string[]): string[] =>
  words.filter((word, at) => !names.includes(word) && !names.includes(words[at - 1] ?? ''));

describe.skipIf(process.platform === 'win32')('DiffSynth-Studio', () => {
  test('what is not filled in is named, and nothing runs', async () => {
    const folder = await makeExport('diffsynth');
    expect(runScript(folder, 'start')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('FILL-IN: DiffSynth-Studio') as string,
      calls: [],
    });
  });

  test('the three ways differ in the start alone; paths come through as they are, also when the folder is moved', async () => {
    const repository = join(root, 'DiffSynth $x');
    mkdirSync(repository);
    const made = await makeExport('diffsynth', '/data/it\'s "big"/Qwen/Qwen-Image');
    fillIn(made, { DIFFSYNTH: repository.replace('$', '\\$') });
    const folder = join(root, 'moved', HARD_NAME);
    mkdirSync(join(root, 'moved'));
    renameSync(made, folder);
    const runs = ['start', 'random', 'difference'].map((mode) => runScript(folder, mode));
    for (const { code, calls, models, stderr } of runs) {
      expect(code, stderr).toBe(0);
      expect(calls).toHaveLength(1);
      expect(calls[0]!.folder).toBe(repository);
      expect(models).toBe('/data/it\'s "big"');
    }
    const [start, random, difference] = runs.map(({ calls }) => calls[0]!);
    expect(start!.words.slice(0, 3)).toEqual(['accelerate', 'launch', 'examples/qwen_image/model_training/train.py']);
    expect(option(start!, '--lora_checkpoint')).toBe(join(folder, 'start.safetensors'));
    expect(option(start!, '--dataset_base_path')).toBe(join(folder, 'images'));
    expect(option(start!, '--lora_rank')).toBe('2');
    expect(option(random!, '--lora_checkpoint')).toBeUndefined();
    expect(option(difference!, '--preset_lora_path')).toBe(join(folder, 'start.safetensors'));
    expect(option(difference!, '--preset_lora_model')).toBe('dit');
    const own = ['--lora_checkpoint', '--preset_lora_path', '--preset_lora_model', '--output_path'];
    for (const other of [random!, difference!]) expect(without(other, ...own)).toEqual(without(start!, ...own));
    expect(new Set(runs.map(({ calls }) => option(calls[0]!, '--output_path'))).size).toBe(3);
  });

  test('a way that there is not is refused', async () => {
    const folder = join(root, 'moved', HARD_NAME);
    for (const args of [[], ['both']]) expect(runScript(folder, ...args)).toMatchObject({ code: 2, calls: [] });
  });
});

describe.skipIf(process.platform === 'win32')('musubi-tuner', () => {
  test("caches, then trains, in the export's own folder; the three ways differ in the start alone", async () => {
    const folder = await makeExport('musubi', join(root, 'it\'s "dit".safetensors'));
    const files = {
      MUSUBI: join(root, 'musubi tuner'),
      VAE: join(root, 'vae.safetensors'),
      TEXT_ENCODER: join(root, 'text.safetensors'),
    };
    for (const file of [...Object.values(files), join(root, 'it\'s "dit".safetensors')]) writeFileSync(file, '');
    fillIn(folder, files);
    const runs = ['start', 'random', 'difference'].map((mode) => runScript(folder, mode));
    for (const { code, calls, stderr } of runs) {
      expect(code, stderr).toBe(0);
      expect(calls.map((call) => call.folder)).toEqual([folder, folder, folder]);
      expect(calls.map(({ words }) => words.find((word) => word.endsWith('.py')))).toEqual(
        ['cache_latents', 'cache_text_encoder_outputs', 'train_network'].map(
          (name) => `${files.MUSUBI}/src/musubi_tuner/qwen_image_${name}.py`,
        ),
      );
    }
    const [start, random, difference] = runs.map(({ calls }) => calls[2]!);
    expect(option(start!, '--dit')).toBe(join(root, 'it\'s "dit".safetensors'));
    expect(option(start!, '--network_weights')).toBe('start.safetensors');
    expect(option(difference!, '--base_weights')).toBe('start.safetensors');
    const own = ['--network_weights', '--base_weights', '--output_name'];
    for (const other of [random!, difference!]) expect(without(other, ...own)).toEqual(without(start!, ...own));
    expect(runs.map(({ calls }) => option(calls[2]!, '--output_name'))).toEqual(['from-start', 'from-random', 'difference']);
  });
});

test('PowerShell scripts carry the mark that makes Windows read them as UTF-8, and the same options', async () => {
  for (const trainer of ['diffsynth', 'musubi'] as const) {
    const folder = join(root, `${trainer} ps`);
    await exported({ file: lora, trainer, folder, baseModel: "D:\\it's", steps: 50 });
    const [bash, powershell] = ['train.sh', 'train.ps1'].map((name) => readFileSync(join(folder, name), 'utf8'));
    expect(powershell!.startsWith('\uFEFF#')).toBe(true);
    expect(powershell).toContain("'D:\\it''s'");
    const options = (text: string): string[] => [...text.matchAll(/--[a-z_]+/g)].map(([name]) => name);
    expect(options(powershell!)).toEqual(options(bash!));
  }
});
