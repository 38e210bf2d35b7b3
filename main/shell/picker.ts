import { dialog, type BrowserWindow, type OpenDialogOptions } from 'electron';
import type { PickRequest } from '../contract/app.ts';
import { IMAGE_ENDINGS } from '../contract/library-values.ts';
import type { ChosenPaths } from '../handlers/paths.ts';

const PROPERTIES: Readonly<Record<PickRequest['what'], NonNullable<OpenDialogOptions['properties']>>> = {
  images: ['openFile', 'multiSelections'],
  loras: ['openFile', 'multiSelections'],
  folder: ['openDirectory'],
  // In the dialogs of macOS and Windows a folder is made only where this says so.
  'new-folder': ['openDirectory', 'createDirectory', 'promptToCreate'],
};

/** Without their dots, as Electron wants them. */
const ENDINGS: Partial<Record<PickRequest['what'], readonly string[]>> = {
  images: IMAGE_ENDINGS.map((ending) => ending.slice(1)),
  loras: ['safetensors'],
};

/**
 * The system's own dialog, over the window.
 * @param chosen is told of what the user takes: the page may name it from then on
 * @returns nothing where the dialog was closed
 */
export async function pickPaths(window: BrowserWindow, chosen: ChosenPaths, { what, title }: PickRequest): Promise<string[]> {
  const extensions = ENDINGS[what];
  const filters = extensions && [{ name: title, extensions: [...extensions] }];
  const { filePaths } = await dialog.showOpenDialog(window, { title, properties: PROPERTIES[what], ...(filters && { filters }) });
  chosen.add(filePaths);
  return filePaths;
}
