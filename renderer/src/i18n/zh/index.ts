import type { Dictionary } from '../en/index.ts';
import { common } from './common.ts';
import { errors } from './errors.ts';
import { queue } from './queue.ts';

export const zh: Dictionary = { common, errors, queue };
