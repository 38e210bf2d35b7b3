import { Option, type Command } from 'commander';
import { PULL_SOURCES } from '../contract/models.ts';
import { parseBytes, parseCount, parseList } from './arguments.ts';
import type { CommandContext } from './commands.ts';
import type * as Commands from './models-commands.ts';
import type { ReportOptions } from './report.ts';

/** Runs a command and turns its end into an exit code. */
export type Act = (options: ReportOptions, command: (context: CommandContext) => unknown) => Promise<void>;

/** i2l models …; what does the work is loaded when it is asked for. */
export function registerModels(models: Command, shown: (command: Command) => Command, act: Act): void {
  const commands = async (): Promise<typeof Commands> => import('./models-commands.ts');
  const target = (command: Command): Command =>
    command.option('--target <name>', 'target of the experts that are named', 'qwen-image');

  shown(models.command('ls'))
    .description('the published models: which are here and where, which are missing, who needs them')
    .option('--models <folders>', 'folders to look into before all others', parseList)
    .action((options: Commands.LookOptions & ReportOptions) =>
      act(options, async (context) => (await commands()).listAll(context, options)),
    );

  shown(models.command('scan'))
    .description('look for models: in the caches and folders of other programs, and in folders that you name')
    .argument('[folder...]', 'folders to look into as well')
    .action((folders: string[], options: ReportOptions) =>
      act(options, async (context) => (await commands()).scanAll(context, folders)),
    );

  target(shown(models.command('pull')))
    .description('download models; a download that was stopped goes on')
    .argument('<name...>', 'experts (style, z-image/style) or models (dinov3-7b); see i2l models ls')
    .addOption(new Option('--from <hub>', 'where to download from').choices([...PULL_SOURCES]).default('auto'))
    .option('--endpoint <address>', 'a mirror of that hub (also: HF_ENDPOINT, MODELSCOPE_ENDPOINT)')
    .option('--to <folder>', "download to this folder (default: the app's)")
    .option('--accept-licence <ids>', 'licences that you have read and agree to', parseList, [])
    .option('--connections <n>', 'connections for a file', parseCount, 4)
    .option('--limit <size>', 'bytes a second at most, e.g. 5MB', parseBytes)
    .addHelpText(
      'after',
      '\nTokens for gated repositories are taken from HF_TOKEN and MODELSCOPE_API_TOKEN, proxies from HTTPS_PROXY.',
    )
    .action((names: string[], options: Commands.PullCommandOptions & ReportOptions) =>
      act(options, async (context) => (await commands()).pull(context, names, options)),
    );

  target(shown(models.command('verify')))
    .description('read models whole and compare them with what was published')
    .argument('[name...]', 'experts or models (default: all that are here)')
    .option('--repair', 'download again what is damaged of files that this app downloaded')
    .option('--online', 'ask the hubs what files of other programs have to be')
    .action((names: string[], options: Commands.VerifyCommandOptions & ReportOptions) =>
      act(options, async (context) => (await commands()).verify(context, names, options)),
    );

  target(shown(models.command('rm')))
    .description('remove models that this app downloaded, and no others')
    .argument('<name...>', 'models; an expert means its own model, not the encoders that it shares')
    .action((names: string[], options: Commands.NameOptions & ReportOptions) =>
      act(options, async (context) => (await commands()).remove(context, names, options)),
    );

  registerCopies(models, shown, act);
}

function registerCopies(models: Command, shown: (command: Command) => Command, act: Act): void {
  shown(models.command('copies'))
    .description("copies of encoders' weights in 8 bits, which --fast makes")
    .option('--remove', 'delete them; they are made again when they are wanted')
    .action((options: Commands.CopiesOptions & ReportOptions) =>
      act(options, async (context) => (await import('./models-commands.ts')).copies(context, options)),
    );
}
