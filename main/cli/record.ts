import type { CreateJob } from '../contract/job.ts';
import { I2lError } from '../contract/errors.ts';
import { dataFolder } from '../data-folder.ts';
import type { CommandContext } from './commands.ts';

/**
 * Puts LoRAs that a command made into the library, beside whoever runs the queue. They are there as files: what
 * keeps them out of the library is told, and ends no command.
 * @param made files of the job's outputs that are there
 * @param known leave those as they are that are in the library already
 */
export async function recordMade(
  { report }: CommandContext,
  { sets }: Pick<CreateJob, 'sets'>,
  made: ReadonlySet<string>,
  { known = false }: { readonly known?: boolean } = {},
): Promise<void> {
  const outputs = sets.filter(({ output }) => made.has(output));
  if (outputs.length === 0) return;
  try {
    // SQLite takes longer to load than all else, and --no-library doesn't need it.
    const [{ Library }, { loraRecorder }, { writtenLora }] = await Promise.all([
      import('../library/library.ts'),
      import('../runners/record-lora.ts'),
      import('../runners/create-job.ts'),
    ]);
    const library = await Library.open(dataFolder(), { role: 'guest', name: 'i2l' });
    try {
      const record = loraRecorder(library);
      for (const set of outputs) {
        if (known && library.loras.hasFile(set.output)) continue;
        (await record(writtenLora(set)))();
      }
    } finally {
      await library.close();
    }
  } catch (error) {
    const { message } = I2lError.from(error);
    report.remark(`The LoRA is written, but not noted in the library: ${message}`);
  }
}
