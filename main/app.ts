import { join } from 'node:path';
import { EngineKeeper } from './engine-keeper.ts';
import { runInEngine, type StartEngineProcess } from './engine-process.ts';
import type { HubName } from './contract/models.ts';
import type { ApiContext } from './handlers/api.ts';
import { modelsFolderOf } from './handlers/app.ts';
import type { TokenKeeper } from './handlers/models.ts';
import { JobQueue } from './jobs/queue.ts';
import { windowPath } from './handlers/paths.ts';
import { LibraryJobs } from './library/jobs.ts';
import { Library } from './library/library.ts';
import { DemoSet } from './pipelines/demo-set.ts';
import type { ModelStore } from './pipelines/model-store.ts';
import { allRunners, libraryRunners } from './runners/all.ts';
import { Devices, onDevice } from './runners/devices.ts';
import type { StartEngine } from './runners/engine-job.ts';
import type { GetModelStore } from './runners/model-jobs.ts';
import { loraRecorder } from './runners/record-lora.ts';
import { SETTINGS_NAME, SettingsStore } from './settings/settings.ts';
import { clearUploads } from './web/uploads.ts';
import { makeFolder } from './weights/make-folder.ts';
import { removeStalePartsIn } from './weights/stale-files.ts';

export interface AppOptions {
  readonly dataFolder: string;
  /** Of this process, for others that want the data folder: 'i2L Studio', 'i2l serve at http://…'. */
  readonly name: string;
  /** Where engines are not Node's children. */
  readonly startEngine?: StartEngineProcess | undefined;
  /** Of the user's accounts at the hubs, where the system keeps secrets; else they are taken from the environment. */
  readonly tokens?: TokenKeeper | undefined;
}

/** What the contract's procedures work on; the wire adds who asks. */
export type Services = Omit<ApiContext, 'mode' | 'pick' | 'showInFolder'>;

const LORAS_FOLDER = 'loras';

/** All services of one data folder. */
export interface App {
  readonly services: Services;
  /** Jobs stop at their next safe point and go on at the next start. */
  close(): Promise<void>;
}

/**
 * Builds the services once, as the owner of the data folder.
 * @throws I2lError LIBRARY_IN_USE that says who has it; and what Library.open and SettingsStore.open give
 */
export async function openApp({ dataFolder, name, startEngine, tokens }: AppOptions): Promise<App> {
  const library = await Library.open(dataFolder, { role: 'owner', name });
  try {
    const settings = await SettingsStore.open(join(dataFolder, SETTINGS_NAME));
    const lorasFolder = join(dataFolder, LORAS_FOLDER);
    await makeFolder(lorasFolder);
    removeStalePartsIn(lorasFolder);
    await clearUploads(dataFolder);
    const models = modelStore(dataFolder, settings, tokens);
    const record = loraRecorder(library);
    const engines = new EngineKeeper({ start: startEngine, isOn: () => settings.get().keepEncoders });
    settings.onChange(({ keepEncoders }) => void (keepEncoders || engines.end()));
    const engine: StartEngine = (job, run) => runInEngine(job, run, engines.starterFor(job));
    const devices = new Devices({ dataFolder, start: engine });
    const start = onDevice(devices, engine);
    const queue = new JobQueue({
      store: new LibraryJobs(library.database),
      runners: [...allRunners(models, record, start), ...libraryRunners({ library, dataFolder, record }, start)],
    });
    queue.start();
    const demo = new DemoSet(dataFolder);
    const modelsForJobs = (): string | undefined => (settings.get().demoModels ? demo.modelsFolder : undefined);
    return {
      services: { dataFolder, settings, library, queue, models, modelsForJobs, demo, devices, tokens, allowPath: windowPath },
      close: async () => {
        await queue.close();
        await engines.close();
        await library.close();
      },
    };
  } catch (error) {
    await library.close();
    throw error;
  }
}

/** What it needs to download and to know models takes longer to load than the rest of the app: not at its start. */
function modelStore(dataFolder: string, settings: SettingsStore, tokens: TokenKeeper | undefined): GetModelStore {
  const token = tokens && ((hub: HubName): Promise<string | undefined> => tokens.get(hub));
  let store: Promise<ModelStore> | undefined;
  const folders = (): { modelsFolder: string; comfyuiFolders: string[] } => ({
    modelsFolder: modelsFolderOf({ settings, dataFolder }),
    comfyuiFolders: settings.get().comfyuiFolders,
  });
  return () =>
    (store ??= import('./pipelines/model-store.ts').then(({ ModelStore: Store }) => new Store({ dataFolder, folders, token })));
}
