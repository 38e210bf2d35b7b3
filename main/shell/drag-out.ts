import { app, nativeImage, type NativeImage, type WebContents } from 'electron';

/** Pixels. */
const ICON_SIDE = 32;

/**
 * Lets the system drag files out of a page, while the user holds the pointer down in it.
 * @returns takes files by the library's own word: no path comes from the page
 */
export function dragOutOf(page: WebContents): (files: readonly string[]) => Promise<void> {
  return async (files) => {
    const [file = ''] = files;
    const icon = await iconOf(file);
    if (!page.isDestroyed()) page.startDrag({ file, files: [...files], icon });
  };
}

/** The system's own for such files; a white square where it has none, since nothing is dragged without. */
async function iconOf(file: string): Promise<NativeImage> {
  const icon = await app.getFileIcon(file).catch(() => nativeImage.createEmpty());
  if (!icon.isEmpty()) return icon;
  const white = Buffer.alloc(4 * ICON_SIDE ** 2, 0xff);
  return nativeImage.createFromBitmap(white, { width: ICON_SIDE, height: ICON_SIDE });
}
