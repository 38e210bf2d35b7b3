import { createRouterClient } from '@orpc/server';
import { errorFromWire } from '../contract/wire-errors.ts';
import type { ImportProgress } from '../contract/library-values.ts';
import { dataFolder } from '../data-folder.ts';
import { libraryRouter } from '../handlers/library.ts';
import { lorasRouter } from '../handlers/loras.ts';
import { openPath, setsRouter } from '../handlers/sets.ts';
import { Library } from '../library/library.ts';
import type { CommandContext } from './commands.ts';

const routers = { library: libraryRouter, loras: lorasRouter, sets: setsRouter };

function clientOf(library: Library) {
  return createRouterClient(routers, { context: { library, allowPath: openPath } });
}

/** The contract's library, sets and LoRAs, as a command asks for them. */
export type LibraryClient = ReturnType<typeof clientOf>;

/**
 * Works on this data folder's library, beside whoever runs the queue.
 * @throws I2lError what the procedures give, and as Database.open
 */
export async function withLibrary<T>(command: string, work: (client: LibraryClient) => Promise<T>): Promise<T> {
  const library = await Library.open(dataFolder(), { role: 'guest', name: `i2l ${command}` });
  try {
    return await work(clientOf(library));
  } catch (error) {
    throw errorFromWire(error);
  } finally {
    await library.close();
  }
}

/** Tells how far a procedure's stream is. @returns what it ends with. @throws I2lError as the procedure */
export async function follow<Result extends { readonly type: 'done' }>(
  { report }: CommandContext,
  step: string,
  stream: AsyncIterable<ImportProgress | Result>,
): Promise<Result> {
  let result: Result | undefined;
  for await (const event of stream) {
    if (event.type === 'done') result = event;
    else report.working({ step, share: event.done / Math.max(1, event.total), words: `${event.done} of ${event.total}` }, event);
  }
  return result as Result;
}
