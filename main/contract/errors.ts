/**
 * Every failure a user can meet has a code from this list, fields that a program can read, and one
 * sentence that names the file and what to do. Nothing matches on the sentence.
 */
export const ERROR_CODES = [
  // files
  'FILE_NOT_FOUND',
  'FILE_UNREADABLE',
  'FILE_WRITE_FAILED',
  'FILE_TOO_LARGE',
  'DISK_FULL',
  'OUTPUT_IS_INPUT',
  'PATH_TOO_LONG',
  'COMFYUI_NOT_FOUND',
  // safetensors
  'SAFETENSORS_HEADER',
  'SAFETENSORS_TENSOR',
  'SAFETENSORS_INDEX',
  // models
  'MODEL_MISSING',
  'MODEL_UNRECOGNISED',
  'MODEL_MISMATCH',
  'TENSOR_MISSING',
  'TENSOR_SHAPE',
  'CONFIG_INVALID',
  // downloads
  'LICENCE_NOT_ACCEPTED',
  'TOKEN_REFUSED',
  'HUB_NOT_FOUND',
  'HUB_UNREACHABLE',
  'HUB_RESPONSE',
  'RATE_LIMITED',
  'HASH_MISMATCH',
  'SOURCE_CHANGED',
  'DOWNLOAD_BUSY',
  // LoRA files
  'LORA_KEYS',
  'LORA_MISMATCH',
  // images
  'IMAGE_INVALID',
  'IMAGE_TOO_SMALL',
  'IMAGE_TOO_LARGE',
  'NO_IMAGES',
  'IMAGES_REFUSED',
  // library
  'LIBRARY_IN_USE',
  'LIBRARY_BUSY',
  'LIBRARY_DAMAGED',
  'LIBRARY_NEWER',
  'NOT_IN_LIBRARY',
  // engine
  'MEMORY_BUDGET',
  'DEVICE_UNAVAILABLE',
  'ENGINE_CRASHED',
  'ENGINE_PROTOCOL',
  'SESSION_FAILED',
  'NOT_FINITE',
  'CANCELLED',
  // the wire
  'CONNECTION_LOST',
  // jobs
  'JOB_NOT_FOUND',
  'JOB_STATE',
  'JOB_KIND',
  'JOB_CRASHED',
  // input
  'BAD_ARGUMENT',
  'UNSUPPORTED',
  'INTERNAL',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/**
 * For codes that stand for several things: which of them it was, in the field `reason`. What the user can do
 * about each is another thing, so each has a sentence of its own in the interface.
 */
export const ERROR_REASONS = [
  // files
  'in-the-way',
  'many-versions',
  'copy-differs',
  'held-by-others',
  'changed-since',
  'not-understood',
  'image-moved',
  'changed-meanwhile',
  'too-many-files',
  // models and LoRA files
  'not-safetensors',
  'not-as-published',
  'bad-factors',
  'key-form',
  'no-trainer-target',
  'copies-in-use',
  // images
  'image-empty',
  'not-an-image',
  'image-kind',
  'image-cut-off',
  'no-preview',
  'no-folders',
  'folder-emptied',
  'all-refused',
  'no-weight',
  // library
  'not-a-library',
  'library-emptied',
  'in-trash',
  'mirrors-no-folder',
  // what was asked
  'path-not-whole',
  'path-of-device',
  'path-not-chosen',
  'no-picker',
  'mirror-without-hub',
  'endpoint-form',
  'token-form',
  'no-token-store',
  'not-downloaded-here',
  'nothing-to-merge',
  'folder-not-empty',
  'name-in-brackets',
  'template-field',
  'subfolder-outside',
  'same-output',
  'not-in-browser',
] as const;
export type ErrorReason = (typeof ERROR_REASONS)[number];

export function isErrorCode(code: unknown): code is ErrorCode {
  return (ERROR_CODES as readonly unknown[]).includes(code);
}

export function isErrorReason(reason: unknown): reason is ErrorReason {
  return (ERROR_REASONS as readonly unknown[]).includes(reason);
}

/** What a program can read of a failure or a note. */
export type Fields = Readonly<Record<string, string | number | boolean | readonly string[]>>;
export type ErrorFields = Fields & { readonly reason?: ErrorReason };

/** What crosses a process or a wire in place of an {@link I2lError}. */
export interface ErrorShape {
  readonly code: ErrorCode;
  readonly message: string;
  /** Another version's reasons may be among them. */
  readonly fields: Fields;
  readonly cause?: string | undefined;
}

export class I2lError extends Error {
  readonly code: ErrorCode;
  readonly fields: ErrorFields;

  constructor(code: ErrorCode, message: string, fields: ErrorFields = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'I2lError';
    this.code = code;
    this.fields = fields;
  }

  toShape(): ErrorShape {
    const shape = { code: this.code, message: this.message, fields: this.fields };
    return this.cause === undefined ? shape : { ...shape, cause: describeCause(this.cause) };
  }

  static fromShape(shape: ErrorShape): I2lError {
    return new I2lError(shape.code, shape.message, shape.fields as ErrorFields, shape.cause);
  }

  /** Wraps anything thrown: our own errors pass, everything else becomes INTERNAL with its cause kept. */
  static from(thrown: unknown): I2lError {
    if (thrown instanceof I2lError) return thrown;
    return new I2lError('INTERNAL', `Something unexpected went wrong: ${describeCause(thrown)}`, {}, thrown);
  }
}

function describeCause(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** The system's error code (ENOENT, ENOSPC …) of a thrown value, if it has one. */
export function systemCode(thrown: unknown): string | undefined {
  if (thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string') return thrown.code;
  return undefined;
}

/** Turns a failed file operation into one sentence that names the file. */
export function fileError(file: string, doing: 'read' | 'write', thrown: unknown): I2lError {
  if (thrown instanceof I2lError) return thrown;
  const code = systemCode(thrown);
  const fields = { file, ...(code ? { system: code } : {}) };
  if (code === 'ENOENT') return new I2lError('FILE_NOT_FOUND', `${file}: there is no such file or folder.`, fields, thrown);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new I2lError('DISK_FULL', `${file}: the disk is full; free some space and try again.`, fields, thrown);
  }
  const reason = REASONS[code ?? ''] ?? describeCause(thrown);
  return doing === 'read'
    ? new I2lError('FILE_UNREADABLE', `${file}: it can't be read (${reason}).`, fields, thrown)
    : new I2lError('FILE_WRITE_FAILED', `${file}: it can't be written (${reason}).`, fields, thrown);
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EEXIST: 'a file is in the way',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of its path is not a folder',
  EROFS: 'the disk is read-only',
  EFBIG: 'the file grew past a size limit',
};
