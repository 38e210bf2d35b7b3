/** What has to change in a set so that it mirrors its folder again; decided by content, so that renaming loses nothing. */

/** An image of the set that came from the folder. */
export interface KnownItem {
  readonly hash: string;
  readonly source: string;
}

/** A file of the folder now. */
export interface FolderFile {
  readonly file: string;
  /** Of its content; undefined if it could not be read. */
  readonly hash: string | undefined;
}

export interface RescanPlan {
  readonly added: { readonly file: string; readonly hash: string }[];
  readonly removed: string[];
  readonly changed: { readonly file: string; readonly from: string; readonly to: string }[];
  readonly moved: { readonly from: string; readonly to: string; readonly hash: string }[];
  readonly duplicates: { readonly file: string; readonly hash: string }[];
}

/**
 * @param items of the set that came from this folder, @param elsewhere hashes of its other images
 * @param files of the folder, in their order
 */
export function planRescan(items: readonly KnownItem[], elsewhere: ReadonlySet<string>, files: readonly FolderFile[]): RescanPlan {
  const plan: RescanPlan = { added: [], removed: [], changed: [], moved: [], duplicates: [] };
  const nowAt = new Map(files.map(({ file, hash }) => [file, hash]));
  const holders = Map.groupBy(
    files.filter((file) => file.hash !== undefined),
    ({ hash }) => hash as string,
  );
  const sourceOf = new Map<string, string>();
  /** Images whose content is in no file any more, by the file that they came from. */
  const lost = new Map<string, string>();
  for (const { hash, source } of items) {
    // A file that can't be read at the moment says nothing about the image that came from it.
    const stays = nowAt.get(source) === hash || (nowAt.has(source) && nowAt.get(source) === undefined);
    const found = stays ? source : holders.get(hash)?.[0]?.file;
    if (found === undefined) lost.set(source, hash);
    else sourceOf.set(hash, found);
    if (found !== undefined && found !== source) plan.moved.push({ from: source, to: found, hash });
  }
  for (const [hash, all] of holders) {
    const at = sourceOf.get(hash) ?? (elsewhere.has(hash) ? undefined : placeNew(plan, lost, hash, all));
    for (const { file } of all) if (file !== at) plan.duplicates.push({ file, hash });
  }
  plan.removed.push(...lost.values());
  return plan;
}

/** New content takes the place of what one of its files held before, if that is nowhere else. @returns its file */
function placeNew(plan: RescanPlan, lost: Map<string, string>, hash: string, files: readonly FolderFile[]): string | undefined {
  const heir = files.find(({ file }) => lost.has(file));
  const file = (heir ?? files[0])?.file ?? '';
  const from = lost.get(file);
  lost.delete(file);
  if (from === undefined) plan.added.push({ file, hash });
  else plan.changed.push({ file, from, to: hash });
  return file;
}
