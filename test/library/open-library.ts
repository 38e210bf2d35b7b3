import { afterEach } from 'vitest';
import { Library, type LibraryOptions } from '../../main/library/library.ts';

const opened: Library[] = [];

/** A library that is closed after the test. */
export async function openLibrary(folder: string, options: Partial<LibraryOptions> = {}): Promise<Library> {
  const library = await Library.open(folder, { role: 'owner', name: 'a test', waitMs: 0, ...options });
  opened.push(library);
  return library;
}

afterEach(async () => {
  for (const library of opened.splice(0)) await library.close();
});
