import type { Dictionary } from '../en/index.ts';
import { common } from './common.ts';
import { create } from './create.ts';
import { errors } from './errors.ts';
import { library } from './library.ts';
import { models } from './models.ts';
import { notes } from './notes.ts';
import { queue } from './queue.ts';
import { settings } from './settings.ts';

export const zh: Dictionary = { common, create, errors, library, models, notes, queue, settings };
