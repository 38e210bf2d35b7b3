#!/usr/bin/env node
import { Command, CommanderError, Option } from 'commander';
import {
  parseBytes,
  parseCount,
  parseEach,
  parseExperts,
  parseList,
  parseNumber,
  parsePort,
  parseThreads,
} from './cli/arguments.ts';
import type { BatchOptions } from './cli/batch-command.ts';
import type { CommandContext, CreateOptions, DecodeOptions, EncodeOptions, EngineOptions } from './cli/commands.ts';
import type { DemoOptions } from './cli/demo-command.ts';
import type { DevicesCommandOptions } from './cli/devices-command.ts';
import type { ComfyuiOptions, ExportOptions } from './cli/export-command.ts';
import type { MergeOptions, RankOptions } from './cli/lora-commands.ts';
import type { PlanOptions } from './cli/plan-commands.ts';
import { registerJobs } from './cli/jobs-options.ts';
import { registerLibrary, registerSets } from './cli/library-options.ts';
import { registerModels } from './cli/models-options.ts';
import type { ServeCommandOptions } from './cli/serve-command.ts';
import { makeReport, type ReportOptions } from './cli/report.ts';
import { DEFAULT_STEPS, TRAINER_IDS } from './contract/trainers.ts';
import { DEVICE_CHOICES } from './contract/devices.ts';
import { KEY_FORMS, LORA_DTYPES, SPLITS } from './contract/job.ts';
import { I2lError } from './contract/errors.ts';
import { VERSION } from './pipelines/version.ts';

/** `i2l`: images in, LoRA out. What does a command's work is loaded when it is asked for. Exit codes: 0 done, 1 failed, 2 bad arguments, 130 interrupted. */
const EXIT = { done: 0, failed: 1, badArguments: 2, interrupted: 130 } as const;
const DEFAULT_MEMORY = 3 * 2 ** 29; // 1.5 GiB

const interrupted = new AbortController();
// The first Ctrl-C stops between two stages and tidies up; the second doesn't wait for that.
process.on('SIGINT', stop).on('SIGTERM', stop);

// The reader of our output is gone (i2l … | head): nobody is left to work for.
process.stdout.on('error', () => process.exit(EXIT.failed));

function stop(): void {
  if (interrupted.signal.aborted) process.exit(EXIT.interrupted);
  interrupted.abort();
}

const program = new Command('i2l')
  .description('Makes LoRAs from images with the published Image-to-LoRA models.')
  .version(VERSION)
  .exitOverride()
  .showHelpAfterError('(see i2l --help)');

const shown = (command: Command): Command =>
  command.option('--json', 'print one JSON object a line on stdout').option('--quiet', 'print errors alone');

const FAST = 'encoders in 8 bits on the CPU: half to read, in about half the time; copies are made once';

const memory = (): Option =>
  new Option('--memory <size>', 'memory that the engine may take')
    .argParser(parseBytes)
    .default(DEFAULT_MEMORY, `${DEFAULT_MEMORY / 2 ** 30}GiB`);

const engine = (command: Command): Command =>
  shown(command)
    .addOption(memory())
    .option('--vram <size>', 'memory of the device that a stage may take', parseBytes)
    .addOption(new Option('--device <name>', 'where to compute').choices([...DEVICE_CHOICES]).default('auto'))
    .option('--threads <n>', 'threads on the CPU; 0: one a core', parseThreads, 0);

const lora = (command: Command): Command =>
  engine(command)
    .addOption(new Option('--dtype <type>', 'values of the LoRA').choices([...LORA_DTYPES]).default('bf16'))
    .addOption(new Option('--key-form <form>', 'names of its tensors').choices([...KEY_FORMS]).default('comfyui'));

const recipe = (command: Command): Command =>
  command
    .option('--models <folder>', 'folder with the models (default: where they are on this machine; see i2l models ls)')
    .option('--target <name>', 'model that the LoRA is for', 'qwen-image')
    .option('--experts <list>', 'experts that take part, each as NAME or NAME:STRENGTH', parseExperts, [
      { name: 'style', strength: 1 },
    ]);

const making = (command: Command): Command =>
  recipe(lora(command))
    .option('--skip-bad', 'leave out images that cannot be used')
    .option('--fast', FAST)
    .option('--no-cache', "don't keep embeddings, and don't use those kept")
    .option('--no-library', "don't note what is made in the library");

making(program.command('create'))
  .description('make one LoRA from images, or from the images in a folder')
  .argument('<image...>', 'image files or folders')
  .requiredOption('-o, --output <file>', 'the LoRA to write')
  .option('--weight <image=weight>', 'how much an image counts beside the others; may be given several times', parseEach)
  .action((images: string[], options: CreateOptions & ReportOptions) =>
    act(options, async (context) => (await import('./cli/commands.ts')).create(context, images, options)),
  );

making(program.command('batch'))
  .description('make one LoRA for each image set, all in one pass; what is finished is not done again')
  .argument('<source>', 'a folder with one sub-folder a set, or a manifest.jsonl')
  .requiredOption('-o, --output <folder>', 'folder for the LoRAs')
  .option('--shard <i/n>', 'only the i-th of n parts; auto: as the scheduler of an array job says')
  .action((source: string, options: BatchOptions & ReportOptions) =>
    act(options, async (context) =>
      (await (await import('./cli/batch-command.ts')).batch(context, source, options)) ? EXIT.done : EXIT.failed,
    ),
  );

engine(program.command('encode'))
  .description('the first half of create: images to embeddings')
  .argument('<image...>', 'image files or folders')
  .option('--models <folder>', 'folder with the models (default: where they are on this machine; see i2l models ls)')
  .requiredOption('-o, --output <file>', 'the embeddings to write')
  .option('--experts <names>', 'experts that they are for', parseList, ['style'])
  .option('--fast', FAST)
  .option('--skip-bad', 'leave out images that cannot be used')
  .action((images: string[], options: EncodeOptions & ReportOptions) =>
    act(options, async (context) => (await import('./cli/commands.ts')).encode(context, images, options)),
  );

lora(program.command('decode'))
  .description('the second half of create: embeddings to a LoRA')
  .argument('<embeddings>', 'file made by encode')
  .requiredOption(
    '--expert <file>',
    "an expert's file, or a static LoRA's, as FILE or FILE:STRENGTH; may be given several times",
    parseEach,
  )
  .requiredOption('-o, --output <file>', 'the LoRA to write')
  .action((embeddings: string, options: DecodeOptions & ReportOptions) =>
    act(options, async (context) => (await import('./cli/commands.ts')).decode(context, embeddings, options)),
  );

shown(program.command('identify'))
  .description('say which model a safetensors file is')
  .argument('<file...>', 'safetensors files, or the index.json of sharded ones')
  .action((files: string[], options: ReportOptions) =>
    act(options, async (context) =>
      (await import('./cli/plan-commands.ts')).identifyFiles(context, files) ? EXIT.done : EXIT.failed,
    ),
  );

recipe(shown(program.command('plan')))
  .description('what create would read, hold and take; nothing is run')
  .argument('<image...>', 'image files or folders')
  .addOption(memory())
  .addOption(new Option('--dtype <type>', 'values of the LoRA').choices([...LORA_DTYPES]).default('bf16'))
  .option('--fast', FAST)
  .option('--machines', 'how long it would take on common machines, by a simulation')
  .action((images: string[], options: PlanOptions & ReportOptions) =>
    act(options, async (context) => (await import('./cli/plan-commands.ts')).plan(context, images, options)),
  );

lora(program.command('rank'))
  .description("change a LoRA's rank by its exact decomposition, or look at what each rank keeps")
  .argument('<file>', 'a LoRA in any key form')
  .option('--spectrum', 'only show what each rank keeps')
  .option('--rank <k>', 'this rank; with --energy or --ratio, at most this rank', parseCount)
  .option('--energy <share>', 'the smallest rank that keeps this share of the Frobenius norm', parseNumber)
  .option('--ratio <r>', 'components of at least 1/r of the largest singular value', parseNumber)
  .option('--per-module', 'with --energy or --ratio: a rank of its own for each module')
  .addOption(new Option('--split <way>', 'where the singular values go').choices([...SPLITS]).default('b-heavy'))
  .option('-o, --output <file>', 'the LoRA to write')
  .action((file: string, options: RankOptions & ReportOptions) =>
    act(options, async (context) => (await import('./cli/lora-commands.ts')).rank(context, file, options)),
  );

lora(program.command('merge'))
  .description('put LoRAs side by side: the exact weighted sum of what they do')
  .argument('<file...>', 'LoRAs, each as FILE or FILE:STRENGTH')
  .option('--rank <k>', 'then bring the result to this rank', parseCount)
  .requiredOption('-o, --output <file>', 'the LoRA to write')
  .action((files: string[], options: MergeOptions & ReportOptions) =>
    act(options, async (context) => (await import('./cli/lora-commands.ts')).merge(context, files, options)),
  );

shown(program.command('inspect'))
  .description('say what a LoRA is: target, modules, ranks, hashes, metadata')
  .argument('<file...>', 'LoRAs in any key form')
  .action((files: string[], options: ReportOptions) =>
    act(options, async (context) => (await import('./cli/lora-commands.ts')).inspect(context, files)),
  );

engine(program.command('diff'))
  .description('compare two LoRAs by what they do, module by module')
  .argument('<a>', 'a LoRA')
  .argument('<b>', 'another')
  .action((a: string, b: string, options: EngineOptions & ReportOptions) =>
    act(options, async (context) => (await import('./cli/lora-commands.ts')).diff(context, a, b, options)),
  );

engine(program.command('export'))
  .description('put a LoRA where the program that uses it finds it')
  .argument('<file>', 'a LoRA in any key form')
  .addOption(new Option('--for <trainer>', 'as a start for training, with images and config').choices(TRAINER_IDS))
  .option('-o, --output <folder>', 'with --for: the folder to write')
  .option('--images <path...>', 'with --for: image files or folders to train on')
  .option('--steps <n>', 'with --for: how long to train', parseCount, DEFAULT_STEPS)
  .option('--base-model <path>', 'with --for: the model to train, as the trainer takes it')
  .option('--comfyui [folder]', "into ComfyUI's loras folder; without a folder, the only ComfyUI of this machine")
  .option('--rank <k>', 'at this rank', parseCount)
  .addOption(new Option('--dtype <type>', 'values, with --rank').choices([...LORA_DTYPES]).default('bf16'))
  .option('--name <template>', 'its name there, of {name} {target} {rank} {images} {date}')
  .option('--subfolder <folder>', 'in the loras folder (default: i2L)')
  .option('--preview <image>', 'an image to show beside it')
  .option('--sidecar', "write ComfyUI-Lora-Manager's .metadata.json, too")
  .option('--trigger <words>', 'trigger words, for the sidecar or for images without a caption', parseList)
  .option('--strength <s>', 'default strength for the sidecar', parseNumber)
  .action((file: string, options: ExportOptions & ReportOptions) =>
    act(options, async (context) => (await import('./cli/export-command.ts')).exportFile(context, file, options)),
  );

shown(program.command('comfyui'))
  .description('find the ComfyUI installs of this machine')
  .argument('[folder...]', 'more folders to look into')
  .option('--exports', 'instead: the LoRAs that were exported, and whether they are still there')
  .action((folders: string[], options: ComfyuiOptions & ReportOptions) =>
    act(options, async (context) => (await import('./cli/export-command.ts')).comfyui(context, folders, options)),
  );

shown(program.command('devices'))
  .description('what this machine can compute with, by a test of each')
  .option('--test', 'test them anew (default: what the last test showed)')
  .action((options: DevicesCommandOptions & ReportOptions) =>
    act(options, async (context) => (await import('./cli/devices-command.ts')).listDevices(context, options)),
  );

registerModels(program.command('models').description('the models: find, download, verify, remove them'), shown, act);

registerSets(program.command('sets').description("the library's image sets"), shown, act);
registerLibrary(program.command('library').description('LoRAs that were made or brought here; backups'), shown, act);

registerJobs(program.command('jobs').description('the queue that the app and the server run'), shown, act);

shown(program.command('serve'))
  .description('the app in a browser, of this machine or of another')
  .option('--host <address>', 'address to serve on; 0.0.0.0: all of this machine', '127.0.0.1')
  .option('--port <n>', 'this port (default: the first that is free from 8225 on)', parsePort)
  .option('--token <secret>', 'what signs in, again and again (default: a new one for each browser)')
  .option('--allow-host <names>', 'more names by which browsers may call this machine', parseList)
  .addOption(new Option('--interface <folder>', 'a built interface').hideHelp())
  .action((options: ServeCommandOptions & ReportOptions) =>
    act(options, async (context) => {
      const { serveApp } = await import('./cli/serve-command.ts');
      await serveApp(context, options);
    }),
  );

engine(program.command('demo'))
  .description('make a LoRA from example images with tiny random models, to see that it works here')
  .option('-o, --output <file>', "the LoRA to write (default: in the app's data folder)")
  .option('--keep-models <folder>', "make the demo's models there and keep them")
  .option('--no-library', "don't note what is made in the library")
  .action((options: DemoOptions & ReportOptions) =>
    act(options, async (context) => (await import('./cli/demo-command.ts')).demo(context, options)),
  );

/** Runs a command and turns its end into an exit code. */
async function act(options: ReportOptions, command: (context: CommandContext) => unknown): Promise<void> {
  const report = makeReport(options);
  try {
    const code = await command({ report, signal: interrupted.signal });
    process.exitCode = typeof code === 'number' ? code : EXIT.done;
  } catch (error) {
    const known = I2lError.from(error);
    report.error(known);
    process.exitCode = exitCodeOf(known);
  }
}

function exitCodeOf({ code }: I2lError): number {
  if (code === 'CANCELLED') return EXIT.interrupted;
  return code === 'BAD_ARGUMENT' ? EXIT.badArguments : EXIT.failed;
}

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  // --help and --version end here too, with 0; commander has printed its sentence.
  process.exitCode = error.exitCode === 0 ? EXIT.done : EXIT.badArguments;
}
