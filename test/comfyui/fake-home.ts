import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { findInstalls, type ComfyInstall, type SearchOptions } from '../../main/comfyui/locate.ts';
import { writeSafetensors } from '../../main/weights/write-safetensors.ts';

export const PLATFORMS = ['win32', 'darwin', 'linux'] as const;
export type Platform = (typeof PLATFORMS)[number];

/** A home folder in which other programs can be pretended; joined with the host's separators. */
export class FakeHome {
  readonly home: string;
  readonly platform: Platform;
  readonly env: Record<string, string>;

  constructor(parent: string, platform: Platform) {
    this.home = mkdtempSync(join(parent, `home-${platform}-`));
    this.platform = platform;
    this.env =
      platform === 'win32'
        ? { APPDATA: this.path('AppData/Roaming'), LOCALAPPDATA: this.path('AppData/Local'), USERPROFILE: this.home }
        : { HOME: this.home };
  }

  path(relative: string): string {
    return join(this.home, ...relative.split('/'));
  }

  folder(relative: string): string {
    mkdirSync(this.path(relative), { recursive: true });
    return this.path(relative);
  }

  file(relative: string, text = ''): string {
    mkdirSync(dirname(this.path(relative)), { recursive: true });
    writeFileSync(this.path(relative), text);
    return this.path(relative);
  }

  /** A ComfyUI as git clones it. */
  comfy(relative: string): string {
    this.file(`${relative}/main.py`);
    this.file(`${relative}/folder_paths.py`);
    this.folder(`${relative}/models/loras`);
    return this.path(relative);
  }

  /** Where an Electron app keeps its settings, relative to home. */
  get appData(): string {
    return { win32: 'AppData/Roaming', darwin: 'Library/Application Support', linux: '.config' }[this.platform];
  }

  /** Where the new desktop app keeps its lists. */
  get desktopData(): string {
    return this.platform === 'linux' ? '.local/share/comfyui-desktop-2' : `${this.appData}/comfyui-desktop-2`;
  }

  find(options: SearchOptions = {}): ComfyInstall[] {
    const { home, env, platform } = this;
    return findInstalls({ home, env, platform, system: [], ...options });
  }
}

/** A small LoRA; `value` makes its content. */
export function makeLora(path: string, value = 1, metadata: Record<string, string> = {}): string {
  mkdirSync(dirname(path), { recursive: true });
  writeSafetensors(path, [{ name: 'x.lora_A.weight', dtype: 'F32', shape: [2], bytes: new Uint8Array(8).fill(value) }], metadata);
  return path;
}
