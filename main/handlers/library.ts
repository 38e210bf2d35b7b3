import { implement } from '@orpc/server';
import { libraryContract } from '../contract/library.ts';
import { answerErrors } from './base.ts';
import type { SetsContext } from './sets.ts';

export interface LibraryContext extends SetsContext {
  /**
   * Makes a backup the library: whoever has it open closes it, calls restoreLibrary and opens it again.
   * @returns where the old file is now
   */
  readonly restore: (file: string) => Promise<string | undefined>;
}

const library = implement(libraryContract).$context<LibraryContext>().use(answerErrors);

export const libraryRouter = library.router({
  info: library.info.handler(({ context }) => context.library.maintenance.info()),
  check: library.check.handler(({ context }) => context.library.maintenance.check()),
  backup: library.backup.handler(async ({ input: { to }, context }) => ({
    file: await context.library.maintenance.backup(to === undefined ? undefined : context.allowPath(to)),
  })),
  restore: library.restore.handler(async ({ input: { file }, context }) => ({
    kept: (await context.restore(context.allowPath(file))) ?? null,
  })),
  emptyTrash: library.emptyTrash.handler(({ context }) => context.library.emptyTrash()),
});
