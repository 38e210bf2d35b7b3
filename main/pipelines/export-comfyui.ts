import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { exportToComfyui, type ExportResult } from '../comfyui/export.ts';
import { findInstalls, resolveNamed, type ComfyInstall, type SearchOptions } from '../comfyui/locate.ts';
import { nameHistory, RECORD_NAME, recordExport } from '../comfyui/record.ts';
import type { LoraDetails } from '../comfyui/sidecar.ts';
import { fileError, I2lError } from '../contract/errors.ts';
import { previewPng } from '../imaging/preview.ts';
import { inspectLora } from './inspect-lora.ts';

export interface ComfyuiExport {
  readonly file: string;
  /** A folder of the user's; the only install of this machine if not given. */
  readonly folder?: string | undefined;
  readonly rank?: number | undefined;
  readonly subfolder?: string | undefined;
  /** A template: {name} {target} {rank} {date} {images}. */
  readonly name?: string | undefined;
  /** An image file of any kind. */
  readonly preview?: string | undefined;
  readonly sidecar: boolean;
  readonly details?: LoraDetails | undefined;
}

export interface ExportSurroundings {
  readonly dataFolder: string;
  readonly signal?: AbortSignal | undefined;
  /** Writes `file` at `rank` to `output`, in ComfyUI's key form. */
  readonly resetRank: (file: string, rank: number, output: string) => Promise<unknown>;
  readonly search?: SearchOptions | undefined;
}

/**
 * Puts a LoRA, at the rank asked, into a ComfyUI's loras folder and records that it is there. Every key of it
 * is known first: ComfyUI only logs those that it doesn't understand and goes on.
 * @throws I2lError COMFYUI_NOT_FOUND, LORA_KEYS and what exportToComfyui gives
 */
export async function exportLora(request: ComfyuiExport, surroundings: ExportSurroundings): Promise<ExportResult> {
  const { dataFolder, signal, search } = surroundings;
  const { file, rank, subfolder, name, sidecar, details } = request;
  inspectLora(file);
  const lorasFolder = chooseFolder(request.folder, search);
  const preview = request.preview === undefined ? undefined : await previewPng(request.preview);
  const record = join(dataFolder, RECORD_NAME);
  const scratch = rank === undefined ? undefined : makeScratch(join(dataFolder, 'cache'));
  try {
    const source = rank === undefined || scratch === undefined ? file : await reduced(file, rank, scratch, surroundings);
    const result = await exportToComfyui({
      file: source,
      lorasFolder,
      subfolder,
      name: name ?? (rank === undefined ? '{name}' : '{name}-r{rank}'),
      preview,
      sidecar,
      details,
      signal,
      wasUsed: await nameHistory(record),
    });
    await recordExport(record, result);
    return result;
  } finally {
    if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
  }
}

/** Of this export alone: others may run beside it. @throws I2lError FILE_WRITE_FAILED, DISK_FULL */
function makeScratch(cache: string): string {
  try {
    mkdirSync(cache, { recursive: true });
    return mkdtempSync(join(cache, 'export-'));
  } catch (error) {
    throw fileError(cache, 'write', error);
  }
}

/** Under the LoRA's own name, of which the export's is made. */
async function reduced(file: string, rank: number, scratch: string, { resetRank }: ExportSurroundings): Promise<string> {
  const output = join(scratch, basename(file));
  await resetRank(file, rank, output);
  return output;
}

function chooseFolder(named: string | undefined, search: SearchOptions | undefined): string {
  if (named !== undefined) return defaultFolder(resolveNamed(named, search));
  const installs = findInstalls(search);
  const [only, ...others] = installs;
  if (only && others.length === 0) return defaultFolder(only);
  const message = only
    ? `There are ${installs.length} ComfyUI installs on this machine; name one: --comfyui FOLDER.`
    : 'No ComfyUI was found on this machine; name its folder: --comfyui FOLDER.';
  throw new I2lError('COMFYUI_NOT_FOUND', message, { installs: installs.map(({ root }) => root) });
}

/** The first that ComfyUI looks into. */
function defaultFolder({ root, lorasFolders }: ComfyInstall): string {
  const folder = lorasFolders.find(({ isDefault }) => isDefault) ?? lorasFolders[0];
  if (!folder) throw new I2lError('COMFYUI_NOT_FOUND', `${root}: this ComfyUI has no loras folder.`, { file: root });
  return folder.path;
}
