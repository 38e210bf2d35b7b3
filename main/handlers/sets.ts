import { resolve } from 'node:path';
import { implement } from '@orpc/server';
import { setsContract } from '../contract/sets.ts';
import type { Library } from '../library/library.ts';
import { answerErrors } from './base.ts';
import { withProgress } from './progress-stream.ts';

export interface SetsContext {
  readonly library: Library;
  /**
   * Every path that a client names goes through here before a file is touched; it throws on one that this client
   * may not use. The command line may use all; see openPath.
   */
  readonly allowPath: (path: string) => string;
}

/** For clients that act as the user: any path, made absolute. */
export function openPath(path: string): string {
  return resolve(path);
}

const sets = implement(setsContract).$context<SetsContext>().use(answerErrors);

export const setsRouter = sets.router({
  list: sets.list.handler(({ input, context: { library } }) => library.sets.list(input)),
  get: sets.get.handler(({ input: { id, check }, context: { library } }) =>
    check ? library.sets.check(id) : library.sets.get(id),
  ),
  create: sets.create.handler(({ input, context: { library } }) => library.sets.create(input)),
  update: sets.update.handler(({ input: { id, change }, context: { library } }) => library.sets.update(id, change)),
  copy: sets.copy.handler(({ input: { id, name }, context: { library } }) => library.sets.copy(id, name)),
  remove: sets.remove.handler(({ input: { ids }, context: { library } }) => ({ removed: library.sets.remove(ids) })),
  undo: sets.undo.handler(({ input: { ids }, context: { library } }) => ({ restored: library.sets.undo(ids) })),
  addImages: sets.addImages.handler(({ input: { id, files, storage }, context: { library, allowPath }, signal }) => {
    const allowed = files.map(allowPath);
    return withProgress(
      async (options) => ({
        type: 'done' as const,
        ...(await library.setImport.addImages(id, allowed, { ...options, storage })),
      }),
      signal,
    );
  }),
  importFolder: sets.importFolder.handler(({ input: { folder, each, storage }, context: { library, allowPath }, signal }) => {
    const allowed = allowPath(folder);
    return withProgress(
      async (options) => ({
        type: 'done' as const,
        ...(await library.setImport.importFolder(allowed, { ...options, each, storage })),
      }),
      signal,
    );
  }),
  rescan: sets.rescan.handler(({ input: { id }, context: { library }, signal }) =>
    withProgress(async (options) => ({ type: 'done' as const, ...(await library.setImport.rescan(id, options)) }), signal),
  ),
  reorder: sets.reorder.handler(({ input: { id, hashes }, context: { library } }) => library.sets.reorder(id, hashes)),
  setImage: sets.setImage.handler(({ input: { id, hash, change }, context: { library } }) =>
    library.sets.setImage(id, hash, change),
  ),
  removeImages: sets.removeImages.handler(({ input: { id, hashes }, context: { library } }) =>
    library.sets.removeImages(id, hashes),
  ),
  restoreImages: sets.restoreImages.handler(({ input: { id, hashes }, context: { library } }) => ({
    restored: library.sets.restoreImages(id, hashes),
  })),
  duplicates: sets.duplicates.handler(({ input: { id, distance }, context: { library } }) => ({
    near: library.sets.duplicates(id, distance),
  })),
});
