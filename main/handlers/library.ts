import { implement } from '@orpc/server';
import { libraryContract } from '../contract/library.ts';
import { answerErrors } from './base.ts';
import type { SetsContext } from './sets.ts';

const library = implement(libraryContract).$context<SetsContext>().use(answerErrors);

export const libraryRouter = library.router({
  info: library.info.handler(({ context }) => context.library.maintenance.info()),
  check: library.check.handler(({ context }) => context.library.maintenance.check()),
  backup: library.backup.handler(async ({ input: { to }, context }) => ({
    file: await context.library.maintenance.backup(to === undefined ? undefined : context.allowPath(to)),
  })),
  emptyTrash: library.emptyTrash.handler(({ context }) => context.library.emptyTrash()),
});
