import { SvelteMap } from 'svelte/reactivity';
import { I2lError } from '../../../main/contract/errors.ts';
import type { ImageChange, ImageSet, SetImage, SetSummary } from '../../../main/contract/sets.ts';
import { api } from '../api/client.ts';
import { groupsOf } from './image-order.ts';

const MOST_SETS = 500;

/** The library's image sets, and the one that is open. */
class ImageSets {
  text = $state('');
  /** Undefined until they are known. */
  list = $state.raw<readonly SetSummary[] | undefined>(undefined);
  total = $state(0);
  error = $state.raw<I2lError | undefined>(undefined);
  open = $state.raw<ImageSet | undefined>(undefined);
  openError = $state.raw<I2lError | undefined>(undefined);
  /** Of images of the open set that look alike; the first of each is the one to keep. */
  groups = $state.raw<readonly (readonly string[])[]>([]);
  /** Ticked, for a batch; also those that the search doesn't show. */
  readonly ticked = new SvelteMap<number, SetSummary>();
  #searches = 0;
  #shows = 0;
  /** The one that is to be open; known before it is. */
  #wanted: number | undefined;

  /** Those that LoRAs are made of: the ticked ones, else the open one. */
  readonly chosen = $derived(this.#choose());

  async search(): Promise<void> {
    const turn = ++this.#searches;
    try {
      const { total, sets } = await api.sets.list({ text: this.text, limit: MOST_SETS });
      if (turn !== this.#searches) return;
      this.list = sets;
      for (const set of sets) if (this.ticked.has(set.id)) this.ticked.set(set.id, set);
      this.total = total;
      this.error = undefined;
    } catch (thrown) {
      if (turn === this.#searches) this.error = I2lError.from(thrown);
    }
  }

  async show(id: number | undefined): Promise<void> {
    const turn = ++this.#shows;
    this.#wanted = id;
    if (id !== this.open?.id) {
      this.open = undefined;
      this.groups = [];
    }
    this.openError = undefined;
    if (id === undefined) return;
    try {
      const set = await api.sets.get({ id, check: true });
      const { near } = await api.sets.duplicates({ id });
      if (turn !== this.#shows) return;
      this.open = set;
      this.groups = groupsOf(
        set.images.map(({ hash }) => hash),
        near,
      );
    } catch (thrown) {
      if (turn === this.#shows) this.openError = I2lError.from(thrown);
    }
  }

  async refresh(): Promise<void> {
    await Promise.all([this.search(), this.show(this.#wanted)]);
  }

  /** Shown at once in its new order; the app's answer counts. @throws I2lError */
  async reorder(hashes: readonly string[]): Promise<void> {
    const { open } = this;
    if (!open) return;
    const place = new Map(hashes.map((hash, i) => [hash, i]));
    const images = [...open.images].sort((a, b) => (place.get(a.hash) ?? 0) - (place.get(b.hash) ?? 0));
    this.open = { ...open, images };
    try {
      await api.sets.reorder({ id: open.id, hashes: [...hashes] });
    } finally {
      await this.refresh();
    }
  }

  /** These images of a set come to lie behind the others, in this order. @throws I2lError */
  async putLast(id: number, hashes: readonly string[]): Promise<void> {
    const { images } = await api.sets.get({ id });
    const last = new Set(hashes);
    const others = images.map(({ hash }) => hash).filter((hash) => !last.has(hash));
    const there = new Set(images.map(({ hash }) => hash));
    await api.sets.reorder({ id, hashes: [...others, ...hashes.filter((hash) => there.has(hash))] });
  }

  /** @throws I2lError */
  async change(hashes: readonly string[], change: ImageChange): Promise<void> {
    const { open } = this;
    if (!open) return;
    for (const hash of hashes) this.#put(await api.sets.setImage({ id: open.id, hash, change }), open.id);
    // Asked anew: an answer that is on its way may be from before the change.
    await this.refresh();
  }

  #put(changed: SetImage, id: number): void {
    if (this.open?.id !== id) return;
    // What was seen of its file stays.
    const images = this.open.images.map((image) => (image.hash === changed.hash ? { ...image, ...changed } : image));
    this.open = { ...this.open, images };
  }

  #choose(): readonly SetSummary[] {
    if (this.ticked.size > 0) return [...this.ticked.values()];
    return this.open ? [this.open] : [];
  }
}

export const sets = new ImageSets();
