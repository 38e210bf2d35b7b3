import { DEVICE_FAULTS, DEVICES, type Device, type DeviceFailure } from '../../../main/contract/devices.ts';
import type { Sentence, Told } from './told.ts';

/** What of a language the parts of its notes are made of. */
interface Language {
  readonly colon: string;
  readonly devices: Readonly<Record<Device, string>>;
  readonly faultOf: (failure: Pick<DeviceFailure, 'fault' | 'why'>) => string;
}

/** What the sentences of several notes have in common, in any language. */
export interface NoteParts {
  /** Of the note's file. */
  readonly ofFile: (words: string | Sentence) => Sentence;
  /** Before the sentence of what went wrong. */
  readonly because: (words: string | Sentence) => Sentence;
  readonly device: Sentence;
  readonly fault: Sentence;
}

export function notePartsIn({ colon, devices, faultOf }: Language): NoteParts {
  const said = (words: string | Sentence, told: Told): string => (typeof words === 'string' ? words : words(told));
  return {
    ofFile: (words) => (told) => told.text('file') + colon + said(words, told),
    because: (words) => (told) => said(words, told) + colon + told.failure(),
    device: (told) => {
      const known = told.oneOf('device', DEVICES);
      return known === undefined ? '' : devices[known];
    },
    fault: (told) => {
      const known = told.oneOf('fault', DEVICE_FAULTS);
      return known === undefined ? '' : faultOf({ fault: known, why: told.text('why') });
    },
  };
}
