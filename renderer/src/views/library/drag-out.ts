import type { LoraView } from '../../../../main/contract/loras.ts';
import { loraFileOf } from '../../api/media.ts';

/** What Chromium downloads to where a drag ends outside of the window: type, name, whole address. */
export function downloadOf({ id, file }: Pick<LoraView, 'id' | 'file'>, page: string): string {
  // A colon would end the name.
  const name = (file.split(/[\\/]/).at(-1) ?? '').replaceAll(':', '-');
  return `application/octet-stream:${name}:${new URL(loraFileOf(id), page).href}`;
}
