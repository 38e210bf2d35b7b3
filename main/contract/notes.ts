import type { ErrorShape, Fields, I2lError } from './errors.ts';

/**
 * Every note that the app gives, with the names of its fields: what a job says on its way, what was found wrong with
 * a file that is not ours to mend. A note is made with {@link note}: beside its code and fields it has one English
 * sentence, which the command line shows and nothing matches on. The interface has words of its own for each code.
 */
export const NOTE_FIELDS = {
  // images
  IMAGE_TURNED: ['file'],
  IMAGE_FIRST_FRAME: ['file', 'frames'],
  IMAGE_FIRST_PAGE: ['file', 'pages'],
  IMAGE_ON_WHITE: ['file'],
  IMAGE_FROM_CMYK: ['file'],
  IMAGE_TO_SRGB: ['file'],
  IMAGE_TO_8_BITS: ['file'],
  IMAGE_GREY: ['file'],
  IMAGE_MIDDLE: ['file', 'width', 'height'],
  IMAGE_REFUSED: ['file'],
  // encoders
  EMBEDDINGS_NOT_KEPT: [],
  EIGHT_BIT_NOT_USED: ['device'],
  EIGHT_BIT_COPY: ['model', 'bytes'],
  WEIGHTS_KEPT: ['bytes'],
  // devices
  DEVICE_NOT_OFFERED: ['device'],
  DEVICE_TEST_FAILED: ['device', 'fault', 'why'],
  DEVICE_WITH_LESS: ['device', 'vram'],
  DEVICE_GIVEN_UP: ['device'],
  // LoRAs
  LORA_NOT_MADE: ['file'],
  LORA_ALREADY_THERE: ['file'],
  LORA_OTHER_NAME: ['asked', 'name'],
  LORA_WITHOUT_PREVIEW: ['name'],
  // ComfyUI installs
  COMFYUI_PATHS_TOO_LARGE: ['file', 'bytes'],
  COMFYUI_PATHS_UNREADABLE: ['file'],
  COMFYUI_PATHS_NO_YAML: ['file'],
  COMFYUI_SECTION_LEFT_OUT: ['file', 'section'],
  COMFYUI_FOLDER_MISSING: ['file', 'folder'],
  // settings
  SETTINGS_NOT_READ: ['file', 'aside'],
  SETTINGS_LEFT_OUT: ['file', 'settings', 'aside'],
  // training
  TRAINING_FILL_IN: ['setting', 'files', 'of'],
  TRAINING_NO_IMAGES: ['folder'],
  TRAINING_IMAGE_LEFT_OUT: [],
  TRAINING_IMAGES_UNSEEN: ['images', 'steps'],
  TRAINING_MODULES_LEFT_OUT: ['trainer', 'left', 'modules'],
  // downloads
  SOURCE_QUICKEST: ['hub', 'source'],
  SOURCE_ASKED_AGAIN: ['source'],
  SOURCE_TRIED_NEXT: ['source'],
  DOWNLOAD_DAMAGED: ['file'],
  // the end of a job
  FAILED: [],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export type NoteCode = keyof typeof NOTE_FIELDS;

export const NOTE_CODES = Object.keys(NOTE_FIELDS) as [NoteCode, ...NoteCode[]];

export function isNoteCode(code: unknown): code is NoteCode {
  return (NOTE_CODES as readonly unknown[]).includes(code);
}

export interface Note {
  readonly code: NoteCode;
  /** In English; it names the file if there is one. */
  readonly message: string;
  readonly fields: Fields;
  /** The failure that it tells of. */
  readonly error?: ErrorShape | undefined;
}

type FieldsOf<Code extends NoteCode> = Readonly<Record<(typeof NOTE_FIELDS)[Code][number], Fields[string]>>;

export function note<Code extends NoteCode>(code: Code, message: string, fields: FieldsOf<Code>, error?: I2lError): Note {
  return { code, message, fields, ...(error && { error: error.toShape() }) };
}

/** A failure that needs no more words. */
export function failureNote(error: I2lError): Note {
  return note('FAILED', error.message, {}, error);
}
