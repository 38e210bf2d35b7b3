import { MOST_NAME } from '../../../../main/contract/library-values.ts';
import type { SetImage, SetSummary } from '../../../../main/contract/sets.ts';
import { api } from '../../api/client.ts';
import type { Dictionary } from '../../i18n/en/index.ts';
import { notices } from '../../state/notices.svelte.ts';
import { router } from '../../state/route.svelte.ts';
import { sets } from '../../state/sets.svelte.ts';
import { imageUploads } from '../../state/uploads.svelte.ts';
import type { Dropped } from '../../ui/dropped.ts';

type CreateWords = Dictionary['create'];

/** Makes an image set and opens it. @returns undefined where it could not be made, which was told */
export async function newSet(words: CreateWords, name = words.newSetName): Promise<number | undefined> {
  let made: number | undefined;
  await notices.attempt(async () => {
    const { id } = await api.sets.create({ name: name.slice(0, MOST_NAME).toWellFormed() });
    made = id;
    router.go('create', id);
    await sets.search();
  });
  return made;
}

/** Files go into the open set, or a new one; each folder is a set of its own. */
export async function takeDropped({ files, folders }: Dropped, words: CreateWords): Promise<void> {
  if (files.length > 0) {
    const id = sets.open?.id ?? (await newSet(words));
    if (id !== undefined) imageUploads.add(files, id);
  }
  for (const folder of folders) {
    const id = await newSet(words, folder.name);
    if (id !== undefined) imageUploads.add(folder.files, id);
  }
}

/** Images that are chosen in the system's dialog stay where they are; into the open set, or a new one. */
export async function pickImages(words: CreateWords): Promise<void> {
  await notices.attempt(async () => {
    const { paths } = await api.app.pick({ what: 'images', title: words.addImages });
    const id = paths.length === 0 ? undefined : (sets.open?.id ?? (await newSet(words)));
    if (id === undefined) return;
    await imageUploads.follow(paths.length, id, (signal) => api.sets.addImages({ id, files: paths }, { signal }));
  });
}

/** Opens the copy; undoing puts it into the trash. */
export async function copySet({ id, name }: SetSummary, words: CreateWords): Promise<void> {
  await notices.attempt(async () => {
    const room = MOST_NAME - words.copyOf('').length;
    const copy = await api.sets.copy({ id, name: words.copyOf(name.slice(0, room).toWellFormed()) });
    router.go('create', copy.id);
    notices.say(({ create: words }) => words.copied(copy.name), {
      label: ({ create: words }) => words.undo,
      run: () =>
        void notices.attempt(async () => {
          await api.sets.remove({ ids: [copy.id] });
          if (sets.open?.id === copy.id) router.go('create', id);
          await sets.search();
        }),
    });
    await sets.search();
  });
}

export async function removeSet({ id, name }: SetSummary): Promise<void> {
  await notices.attempt(async () => {
    await api.sets.remove({ ids: [id] });
    sets.ticked.delete(id);
    if (sets.open?.id === id) router.go('create');
    notices.say(({ create: words }) => words.removedSet(name), {
      label: ({ create: words }) => words.undo,
      run: () => void restoreSet(id),
    });
    await sets.search();
  });
}

/** Out of the trash, and opens it. */
export async function restoreSet(id: number): Promise<void> {
  await notices.attempt(async () => {
    await api.sets.undo({ ids: [id] });
    router.go('create', id);
    await sets.refresh();
  });
}

export async function rescan({ id }: SetSummary): Promise<void> {
  await notices.attempt(async () => {
    for await (const event of await api.sets.rescan({ id })) {
      if (event.type !== 'done') continue;
      const [added, gone] = [event.added.length + event.changed.length, event.removed.length];
      notices.say(({ create: words }) => words.rescanned(added, gone));
    }
  });
  await sets.refresh();
}

/** Takes images out of the open set; they can be put back as long as the message is there. */
export async function removeImages(images: readonly SetImage[]): Promise<void> {
  const { open } = sets;
  if (!open || images.length === 0) return;
  const request = { id: open.id, hashes: images.map(({ hash }) => hash) };
  await notices.attempt(async () => {
    await api.sets.removeImages(request);
    notices.say(({ create: words }) => words.removedImages(images.length), {
      label: ({ create: words }) => words.undo,
      run: () =>
        void notices.attempt(async () => {
          await api.sets.restoreImages(request);
          await sets.refresh();
        }),
    });
  });
  await sets.refresh();
}

/** Leaves out all but the first of images that look alike; their weights can be raised again. */
export async function keepOne(groups: readonly (readonly string[])[]): Promise<void> {
  const others = groups.flatMap(([, ...rest]) => rest);
  const done = await notices.attempt(() => sets.change(others, { weight: 0 }));
  if (done) notices.say(({ create: words }) => words.keptOne(others.length));
}
