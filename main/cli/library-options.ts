import type { Command } from 'commander';
import { parseCount, parseList, parseOffset } from './arguments.ts';
import type * as LibraryCommands from './library-commands.ts';
import type { Act } from './models-options.ts';
import type { ReportOptions } from './report.ts';
import type * as SetsCommands from './sets-commands.ts';

type Shown = (command: Command) => Command;

const LIMIT = 50;

const paged = (command: Command): Command =>
  command
    .option('--text <words>', 'only with these words; the last may be a beginning')
    .option('--target <name>', 'only for this target')
    .option('--trashed', 'those in the trash')
    .option('--limit <n>', 'how many at most', parseCount, LIMIT)
    .option('--offset <n>', 'how many to leave out first', parseOffset, 0);

const numbers = (command: Command): Command =>
  command.argument('<id...>', 'their numbers', (text, ids: number[] = []) => [...ids, parseCount(text)]);

/** i2l sets …; what does the work is loaded when it is asked for. */
export function registerSets(sets: Command, shown: Shown, act: Act): void {
  const commands: LoadSets = async () => import('./sets-commands.ts');
  paged(shown(sets.command('ls')).description('list image sets')).action((options: SetsCommands.ListSetsOptions & ReportOptions) =>
    act(options, async (context) => (await commands()).listSets(context, options)),
  );
  shown(sets.command('show'))
    .description('one image set, its images, and what has become of their files')
    .argument('<id>', 'its number', parseCount)
    .action((id: number, options: ReportOptions) => act(options, async (context) => (await commands()).showSet(context, id)));
  shown(sets.command('new'))
    .description('make an image set')
    .argument('<name>', 'its name')
    .argument('[image...]', 'image files or folders to put into it')
    .option('--target <name>', 'model that it is for')
    .option('--notes <text>', 'notes')
    .option('--copy', 'keep copies of its images in the data folder')
    .action((name: string, files: string[], options: SetsCommands.NewSetOptions & ReportOptions) =>
      act(options, async (context) => (await commands()).newSet(context, name, files, options)),
    );
  shown(sets.command('copy'))
    .description('make another image set of the same images, with their order, weights and captions')
    .argument('<id>', 'its number', parseCount)
    .argument('[name]', "the copy's name (default: its name, and 'copy')")
    .action((id: number, name: string | undefined, options: ReportOptions) =>
      act(options, async (context) => (await commands()).copySet(context, id, name)),
    );
  registerImages(sets, shown, act, commands);
  numbers(shown(sets.command('rm')).description('put image sets into the trash')).action((ids: number[], options: ReportOptions) =>
    act(options, async (context) => (await commands()).removeSets(context, ids)),
  );
  numbers(shown(sets.command('undo')).description('take image sets out of the trash')).action(
    (ids: number[], options: ReportOptions) => act(options, async (context) => (await commands()).undoSets(context, ids)),
  );
}

type LoadSets = () => Promise<typeof SetsCommands>;

/** How images come into a set. */
function registerImages(sets: Command, shown: Shown, act: Act, commands: LoadSets): void {
  shown(sets.command('add'))
    .description('put images into an image set')
    .argument('<id>', 'its number', parseCount)
    .argument('<image...>', 'image files or folders')
    .action((id: number, files: string[], options: ReportOptions) =>
      act(options, async (context) => (await commands()).addToSet(context, id, files)),
    );
  shown(sets.command('import'))
    .description('make an image set that mirrors a folder; one that does so already is read again')
    .argument('<folder>', 'a folder with images')
    .option('--each', 'an image set for each of its sub-folders')
    .option('--copy', 'keep copies of the images in the data folder')
    .action((folder: string, options: SetsCommands.ImportSetsOptions & ReportOptions) =>
      act(options, async (context) => (await commands()).importSets(context, folder, options)),
    );
  shown(sets.command('rescan'))
    .description("read an image set's folder again")
    .argument('<id>', 'its number', parseCount)
    .action((id: number, options: ReportOptions) => act(options, async (context) => (await commands()).rescanSet(context, id)));
}

/** i2l library …, the same way. */
export function registerLibrary(library: Command, shown: Shown, act: Act): void {
  const commands = async (): Promise<typeof LibraryCommands> => import('./library-commands.ts');
  registerLoras(library, shown, act, commands);
  shown(library.command('info'))
    .description('where the library is and what is in it')
    .action((options: ReportOptions) => act(options, async (context) => (await commands()).libraryInfo(context)));
  shown(library.command('check'))
    .description('look for damage, and for files that are gone')
    .action((options: ReportOptions) => act(options, async (context) => (await commands()).checkLibrary(context)));
  shown(library.command('backup'))
    .description('make a backup of the database; images and LoRAs stay where they are')
    .option('--to <file>', 'the file to write (default: in the data folder)')
    .action((options: { readonly to?: string } & ReportOptions) =>
      act(options, async (context) => (await commands()).backUp(context, options.to)),
    );
  shown(library.command('restore'))
    .description('make a backup the library; the old one is kept')
    .argument('<file>', 'the backup')
    .action((file: string, options: ReportOptions) => act(options, async (context) => (await commands()).restore(context, file)));
  shown(library.command('empty-trash'))
    .description('remove what is in the trash for good, with copied images that nothing uses any more')
    .action((options: ReportOptions) => act(options, async (context) => (await commands()).emptyTrash(context)));
}

function registerLoras(library: Command, shown: Shown, act: Act, commands: () => Promise<typeof LibraryCommands>): void {
  paged(shown(library.command('ls')).description('list LoRAs, the newest first'))
    .option('--expert <id>', 'only made with this expert')
    .option('--tag <tags>', 'only with all of these tags', parseList)
    .option('--missing', 'only those whose file was gone when it was last looked for')
    .action((options: LibraryCommands.ListLorasOptions & ReportOptions) =>
      act(options, async (context) => (await commands()).listLoras(context, options)),
    );
  shown(library.command('show'))
    .description('one LoRA: what it was made of, its versions, its exports')
    .argument('<id>', 'its number', parseCount)
    .action((id: number, options: ReportOptions) => act(options, async (context) => (await commands()).showLora(context, id)));
  shown(library.command('import'))
    .description('bring LoRA files into the library')
    .argument('<file...>', 'LoRAs in any key form')
    .option('--copy', 'copy them into the data folder (default: they stay where they are)')
    .action((files: string[], options: LibraryCommands.ImportLorasOptions & ReportOptions) =>
      act(options, async (context) => (await commands()).importLoras(context, files, options)),
    );
  numbers(shown(library.command('tag')).description('tag LoRAs'))
    .option('--add <tags>', 'tags to give', parseList, [])
    .option('--remove <tags>', 'tags to take', parseList, [])
    .action((ids: number[], options: LibraryCommands.TagOptions & ReportOptions) =>
      act(options, async (context) => (await commands()).tagLoras(context, ids, options)),
    );
  numbers(shown(library.command('rm')).description('put LoRAs into the trash; files outside of the data folder stay')).action(
    (ids: number[], options: ReportOptions) => act(options, async (context) => (await commands()).removeLoras(context, ids)),
  );
  numbers(shown(library.command('undo')).description('take LoRAs out of the trash')).action(
    (ids: number[], options: ReportOptions) => act(options, async (context) => (await commands()).undoLoras(context, ids)),
  );
}
