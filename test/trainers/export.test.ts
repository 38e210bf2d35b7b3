import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { isOfForm, openLora } from '../../main/lora/read-lora.ts';
import { qwenImage, zImage } from '../../main/lora/targets.ts';
import type { TrainerId } from '../../main/contract/trainers.ts';
import { TRAINERS } from '../../main/pipelines/export-trainer.ts';
import { writeTrainingStart } from '../../main/trainers/write-start.ts';
import { denseOf, minus, multiply, norm, type TestModule } from '../lora/lora-files.ts';
import { tempFolder } from '../unit/temp.ts';
import { exported, makeLora, read, readAiToolkit, readJson, readToml, type OneTrainerConfig } from './exports.ts';
import { MODELS, TAKEN } from './layers.ts';

const root = tempFolder();
/** What a folder may be called. */
const HARD_NAME = 'it\'s "my" style ${x} – 画像';
let folders = 0;
const asFile = (file: string): { file: string } => ({ file });
const newFolder = (name = HARD_NAME): string => join(root, String(folders++), name);

const QWEN = { 'transformer_blocks.0.attn.to_q': 3, 'transformer_blocks.0.img_mod.1': 3, 'transformer_blocks.7.attn.to_out.0': 3 };
const Z = { 'layers.4.attention.to_q': 2, 'layers.4.attention.to_k': 2, 'noise_refiner.1.attention.to_out.0': 2 };
const IDS = Object.keys(TRAINERS) as TrainerId[];
const CASES = IDS.flatMap((trainer) => [[trainer, 'qwen-image', QWEN] as const, [trainer, 'z-image', Z] as const]);

function worstError(file: string, modules: readonly TestModule[]): number {
  const found = denseOf(file);
  expect([...found.keys()].sort()).toEqual(modules.map(({ path }) => path).sort());
  return Math.max(...modules.map(({ path, a, b }) => norm(minus(multiply(b, a), found.get(path)!)) / norm(multiply(b, a))));
}

/** What a trainer's config says of the LoRA, read back as the trainer does. */
function configOf(
  trainer: TrainerId,
  folder: string,
  layers: readonly string[],
): { rank: number; alpha: number; layers: string[] } {
  if (trainer === 'ai-toolkit') {
    const { linear, linear_alpha: alpha, network_kwargs } = readAiToolkit(folder, 'start').network;
    return { rank: linear, alpha, layers: TAKEN.aiToolkit(network_kwargs.only_if_contains, layers) };
  }
  if (trainer === 'onetrainer') {
    const config = readJson<OneTrainerConfig>(folder, 'train-from-start.json');
    return { rank: config.lora_rank, alpha: config.lora_alpha, layers: TAKEN.oneTrainer(config.layer_filter, layers) };
  }
  if (trainer === 'musubi') {
    const config = readToml(folder, 'train.toml');
    const taken = TAKEN.musubi(config['network_args'] as string[], layers);
    return { rank: config['network_dim'] as number, alpha: config['network_alpha'] as number, layers: taken };
  }
  const option = (name: string): string => new RegExp(`--${name} '?([^' ]+)'? `).exec(read(folder, 'train.sh'))![1]!;
  const rank = Number(option('lora_rank'));
  // DiffSynth has no alpha: it takes the rank.
  return { rank, alpha: rank, layers: TAKEN.diffsynth(option('lora_target_modules'), layers) };
}

describe.each(CASES)('%s, %s', (trainer, target, ranks) => {
  const layers = MODELS.find((model) => model.target.id === target)!.layers;

  test('LoRA and config fit each other, and what the LoRA does is unchanged', async () => {
    const folder = newFolder();
    const file = join(root, `${folders++}.safetensors`);
    const modules = makeLora(file, ranks);
    const written = await exported({ file, trainer, folder });
    const start = join(folder, 'start.safetensors');
    const rank = Object.values(ranks)[0]!;
    expect(written).toMatchObject({ folder, trainer, rank, modules: modules.length, images: 0 });
    expect(isOfForm(openLora(start), TRAINERS[trainer].keyForm)).toBe(true);
    expect(worstError(start, modules)).toBe(0);
    const config = configOf(trainer, folder, layers);
    expect(config).toEqual({ rank, alpha: rank, layers: expect.anything() as string[] });
    expect(config.layers.sort()).toEqual(Object.keys(ranks).sort());
    for (const name of written.files) expect(existsSync(join(folder, name)), name).toBe(true);
  });

  test('a folder of many modules, as an expert makes it, names all of them', () => {
    const { target: whole, experts } = MODELS.find((model) => model.target.id === target)!;
    const folder = newFolder('plain');
    const { files } = TRAINERS[trainer].files({
      target: whole,
      folder,
      modules: experts,
      rank: 16,
      images: [],
      caption: 'x',
      steps: 10,
    });
    mkdirSync(folder, { recursive: true });
    for (const { name, text } of files) writeFileSync(join(folder, name), text);
    const config = configOf(trainer, folder, layers);
    expect(config.rank).toBe(16);
    expect(config.layers.sort()).toEqual([...experts].sort());
  });
});

describe('rank', () => {
  const uneven = { 'transformer_blocks.0.attn.to_q': 1, 'transformer_blocks.1.attn.to_q': 3 };

  test.each(IDS)('%s: ranks that differ are brought to the largest', async (trainer) => {
    const folder = newFolder('a');
    const file = join(root, `${folders++}.safetensors`);
    const modules = makeLora(file, uneven);
    expect((await exported({ file, trainer, folder })).rank).toBe(3);
    const start = openLora(join(folder, 'start.safetensors'));
    expect(start.modules.map(({ rank, scale }) => [rank, scale])).toEqual([[3, 1], [3, 1]]); // prettier-ignore
    expect(worstError(join(folder, 'start.safetensors'), modules)).toBeLessThan(1e-6);
  });

  test('a larger one leaves what the LoRA does, and has rows that can learn', async () => {
    const folder = newFolder('a');
    const file = join(root, `${folders++}.safetensors`);
    const modules = makeLora(file, uneven);
    await exported({ file, trainer: 'ai-toolkit', folder, rank: 4 });
    const start = join(folder, 'start.safetensors');
    expect(openLora(start).modules.map(({ rank }) => rank)).toEqual([4, 4]);
    expect(worstError(start, modules)).toBeLessThan(1e-6);
    expect(readAiToolkit(folder, 'start').network.linear).toBe(4);
  });

  test('a smaller one is the best of its rank, balanced', async () => {
    const folder = newFolder('a');
    const file = join(root, `${folders++}.safetensors`);
    makeLora(file, uneven);
    await exported({ file, trainer: 'onetrainer', folder, rank: 1 });
    const start = openLora(join(folder, 'start.safetensors'));
    expect(start.modules.map(({ rank }) => rank)).toEqual([1, 1]);
    expect(start.file.metadata).toMatchObject({ 'i2l.components': 'sorted balanced', ss_network_dim: '1' });
  });
});

describe('the two ways', () => {
  test('ai-toolkit: the same config, once without the LoRA; paths are whole', async () => {
    const folder = newFolder();
    const file = join(root, `${folders++}.safetensors`);
    makeLora(file, QWEN);
    await exported({
      file,
      trainer: 'ai-toolkit',
      folder,
      trigger: ['ink', 'wash'],
      steps: 300,
      baseModel: 'C:\\models\\it\'s "q"',
    });
    const [start, random] = (['start', 'random'] as const).map((from) => readAiToolkit(folder, from));
    expect(start!.network.pretrained_lora_path).toBe(join(folder, 'start.safetensors'));
    const network = { ...start!.network };
    delete network.pretrained_lora_path;
    expect({ ...start!, name: 'from-random', network }).toEqual(random);
    expect(start!.datasets[0]!.folder_path).toBe(join(folder, 'images'));
    expect(start).toMatchObject({ train: { steps: 300, lr: 1e-4 }, model: { name_or_path: 'C:\\models\\it\'s "q"' } });
  });

  test('OneTrainer: the same config, once without the LoRA; it reads the images beside it', async () => {
    const folder = newFolder();
    const file = join(root, `${folders++}.safetensors`);
    makeLora(file, QWEN);
    const image = new URL('../../resources/examples/sea.jpg', import.meta.url).pathname;
    await exported({ file, trainer: 'onetrainer', folder, images: [image, image, image].map(asFile), steps: 100 });
    const [start, random] = ['start', 'random'].map((from) => readJson<OneTrainerConfig>(folder, `train-from-${from}.json`));
    expect(start!.lora_model_name).toBe(join(folder, 'start.safetensors'));
    const neutral = (config: OneTrainerConfig): string =>
      JSON.stringify({ ...config, lora_model_name: '' }).replaceAll('from-start', 'from-random');
    expect(neutral(start!)).toBe(neutral(random!));
    expect(start!.epochs).toBe(34);
    expect(readJson<{ path: string }[]>(folder, 'concepts.json')[0]!.path).toBe(join(folder, 'images'));
    expect(read(folder, 'train-from-start.json')).toMatch(/^[\n -~]*$/);
  });

  test('a path that ai-toolkit would change is refused', async () => {
    const file = join(root, `${folders++}.safetensors`);
    makeLora(file, QWEN);
    const folder = newFolder('a [name] b');
    await expect(exported({ file, trainer: 'ai-toolkit', folder })).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    expect(existsSync(folder)).toBe(false);
  });
});

describe('images', () => {
  const source = join(root, 'source');
  mkdirSync(join(source, 'sub'), { recursive: true });
  const example = (name: string): string => new URL(`../../resources/examples/${name}`, import.meta.url).pathname;

  test('are copied, each with its caption; no two share a text file; what trainers skip becomes PNG', async () => {
    cpSync(example('hills.jpg'), join(source, 'über die Hügel.JPG'));
    writeFileSync(join(source, 'über die Hügel.txt'), '\uFEFF  green hills \n');
    cpSync(example('sea.jpg'), join(source, 'sub/ÜBER DIE HÜGEL.jpg'));
    await sharp(example('town.jpg')).resize(64).gif().toFile(join(source, 'town.gif'));
    writeFileSync(join(source, 'town.txt'), ' \n');
    const images = ['über die Hügel.JPG', 'sub/ÜBER DIE HÜGEL.jpg', 'town.gif'].map((name) => asFile(join(source, name)));
    const file = join(root, `${folders++}.safetensors`);
    makeLora(file, QWEN);
    const folder = newFolder();
    const written = await exported({ file, trainer: 'diffsynth', folder, images, trigger: ['ink wash'] });
    expect(written.images).toBe(3);
    const metadata = readJson<{ image: string; prompt: string }[]>(folder, 'metadata.json');
    expect(metadata).toEqual([
      { image: 'über die Hügel.jpg', prompt: 'green hills' },
      { image: 'ÜBER DIE HÜGEL-v2.jpg', prompt: 'ink wash' },
      { image: 'town.png', prompt: 'ink wash' },
    ]);
    expect(readFileSync(join(folder, 'images/über die Hügel.jpg'))).toEqual(readFileSync(images[0]!.file));
    expect(read(folder, 'images/über die Hügel.txt')).toBe('green hills\n');
    expect(read(folder, 'images/ÜBER DIE HÜGEL-v2.txt')).toBe('ink wash\n');
    expect(await sharp(join(folder, 'images/town.png')).metadata()).toMatchObject({ format: 'png', width: 64 });
    expect(readdirSync(join(folder, 'images'))).toHaveLength(6);
  });

  test.each(IDS)('%s: none are said to be none', async (trainer) => {
    const file = join(root, `${folders++}.safetensors`);
    makeLora(file, QWEN);
    const folder = newFolder('a');
    const { notes } = await exported({ file, trainer, folder });
    expect(notes).toMatchObject([{ code: 'TRAINING_NO_IMAGES', message: expect.stringContaining('No images were given') }]);
    expect(read(folder, 'README.txt')).toContain('No images were given');
    expect(readdirSync(join(folder, 'images'))).toEqual([]);
  });

  test('one that is not there stops the export and leaves nothing', async () => {
    const file = join(root, `${folders++}.safetensors`);
    makeLora(file, QWEN);
    const folder = newFolder('a');
    await expect(exported({ file, trainer: 'musubi', folder, images: [asFile(join(source, 'gone.jpg'))] })).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
    });
    expect(readdirSync(join(folder, '..'))).toEqual([]);
  });
});

describe('the folder', () => {
  const request = {
    trainer: 'musubi',
    images: [],
    trigger: [],
    steps: 5,
    target: qwenImage(),
    modules: Object.keys(QWEN),
    rank: 3,
  } as const;
  const tools = {
    writeLora: (output: string): Promise<void> => Promise.resolve(writeFileSync(output, 'LoRA')),
    toPng: (): Promise<never> => Promise.reject(new Error('no image')),
  };

  test('an empty one is filled, one with content and a file are left as they are', async () => {
    const [empty, full, file] = [newFolder('empty'), newFolder('full'), newFolder('file')];
    for (const path of [empty, full, join(file, '..')]) mkdirSync(path, { recursive: true });
    writeFileSync(join(full, 'mine.txt'), 'mine');
    writeFileSync(file, 'mine');
    await writeTrainingStart({ ...request, folder: empty }, tools);
    expect(readdirSync(empty).sort()).toEqual([
      'README.txt',
      'dataset.toml',
      'images',
      'start.safetensors',
      'train.ps1',
      'train.sh',
      'train.toml',
    ]);
    for (const folder of [full, file]) {
      await expect(writeTrainingStart({ ...request, folder }, tools)).rejects.toMatchObject({
        code: 'BAD_ARGUMENT',
        fields: { file: folder },
      });
    }
    expect(readdirSync(full)).toEqual(['mine.txt']);
    expect(readFileSync(file, 'utf8')).toBe('mine');
  });

  test('one that is filled while the LoRA is written is not replaced', async () => {
    const folder = newFolder('late');
    const late = {
      ...tools,
      writeLora: async (output: string): Promise<void> => {
        await tools.writeLora(output);
        mkdirSync(folder);
        writeFileSync(join(folder, 'mine.txt'), 'mine');
      },
    };
    await expect(writeTrainingStart({ ...request, folder }, late)).rejects.toMatchObject({ code: 'BAD_ARGUMENT' });
    expect(readdirSync(join(folder, '..'))).toEqual(['late']);
    expect(readdirSync(folder)).toEqual(['mine.txt']);
  });

  test('a failure leaves nothing', async () => {
    const folder = newFolder('failed');
    const failing = { ...tools, writeLora: (): Promise<never> => Promise.reject(new Error('engine')) };
    await expect(writeTrainingStart({ ...request, folder }, failing)).rejects.toThrow('engine');
    expect(readdirSync(join(folder, '..'))).toEqual([]);
  });

  test('modules that musubi has no place for are named', async () => {
    const folder = newFolder('outside');
    const { notes } = await writeTrainingStart(
      { ...request, target: zImage(), modules: [...Object.keys(Z), 'x_embedder'], folder },
      tools,
    );
    expect(notes).toContainEqual(
      expect.objectContaining({
        code: 'TRAINING_MODULES_LEFT_OUT',
        fields: { trainer: TRAINERS.musubi.title, left: 1, modules: 4 },
      }),
    );
  });
});

test.each([
  ['another model', { 'single_transformer_blocks.0.attn.to_q': 2 }],
  ['a mixture', { 'transformer_blocks.0.attn.to_q': 2, 'transformer_blocks.0.ff.net.2': 2 }],
])("%s's LoRA is refused", async (_what, ranks) => {
  const file = join(root, `${folders++}.safetensors`);
  makeLora(file, ranks);
  const folder = newFolder('a');
  await expect(exported({ file, trainer: 'diffsynth', folder })).rejects.toMatchObject({ code: 'UNSUPPORTED', fields: { file } });
  expect(existsSync(folder)).toBe(false);
});
