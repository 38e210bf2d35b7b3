import { common } from './common.ts';
import { create } from './create.ts';
import { errors } from './errors.ts';
import { library } from './library.ts';
import { models } from './models.ts';
import { notes } from './notes.ts';
import { queue } from './queue.ts';
import { settings } from './settings.ts';

export const en = { common, create, errors, library, models, notes, queue, settings };

/** The same keys, whatever the words. */
type Words<Of> = {
  readonly [Key in keyof Of]: Of[Key] extends string
    ? string
    : Of[Key] extends (...values: infer Values) => string
      ? (...values: Values) => string
      : Words<Of[Key]>;
};

export type Dictionary = Words<typeof en>;
