import { join } from 'node:path';
import { dataFolder } from '../data-folder.ts';
import { ModelStore } from '../pipelines/model-store.ts';
import { SETTINGS_NAME, SettingsStore } from '../settings/settings.ts';

/** The models of this machine, by the user's settings; programs that are run in their own folder keep theirs there. */
export async function openStore(): Promise<ModelStore> {
  const folder = dataFolder();
  const settings = (await SettingsStore.open(join(folder, SETTINGS_NAME))).get();
  const modelsFolder = settings.modelsFolder ?? join(folder, 'models');
  return new ModelStore({
    dataFolder: folder,
    folders: () => ({ modelsFolder, comfyuiFolders: settings.comfyuiFolders, current: process.cwd() }),
  });
}
