/** What a drop or a paste brings: files, and folders by their names. */

export interface Dropped {
  readonly files: readonly File[];
  /** Each folder that has files of its own; sub-folders are folders of their own. */
  readonly folders: readonly { readonly name: string; readonly files: readonly File[] }[];
}

/**
 * The entries have to be taken before anything is awaited: the browser empties the transfer.
 * @param endings of what is taken of folders, where other things lie beside it; a file that was dropped by itself was meant
 */
export async function droppedOf(transfer: DataTransfer, endings: readonly string[]): Promise<Dropped> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  if (entries.length === 0) return { files: [...transfer.files], folders: [] };
  const folders: Folder[] = [];
  const files = await filesIn(entries, endings, folders);
  return { files, folders };
}

interface Folder {
  readonly name: string;
  files: File[];
}

async function filesIn(entries: readonly FileSystemEntry[], endings: readonly string[], folders: Folder[]): Promise<File[]> {
  const files: File[] = [];
  for (const entry of entries) {
    if (isFile(entry)) files.push(await fileOf(entry));
    else if (isFolder(entry)) await walk(entry, endings, folders);
  }
  return files;
}

async function walk(folder: FileSystemDirectoryEntry, endings: readonly string[], folders: Folder[]): Promise<void> {
  const entries = (await entriesOf(folder)).filter(({ name }) => !name.startsWith('.'));
  const own: Folder = { name: folder.name, files: [] };
  folders.push(own);
  const chosen = entries.filter(
    (entry) => entry.isDirectory || endings.some((ending) => entry.name.toLowerCase().endsWith(ending)),
  );
  const found = await filesIn(chosen, endings, folders);
  own.files = found.sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
  if (found.length === 0) folders.splice(folders.indexOf(own), 1);
}

function isFile(entry: FileSystemEntry): entry is FileSystemFileEntry {
  return entry.isFile;
}

function isFolder(entry: FileSystemEntry): entry is FileSystemDirectoryEntry {
  return entry.isDirectory;
}

function fileOf(entry: FileSystemFileEntry): Promise<File> {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

/** A reader gives some at a time, and none at the end. */
async function entriesOf(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return all;
    all.push(...some);
  }
}
