import { arch, cpus, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { EventPublisher, implement } from '@orpc/server';
import { appContract, type AppInfo, type Settings } from '../contract/app.ts';
import { VERSION } from '../pipelines/version.ts';
import type { SettingsStore } from '../settings/settings.ts';
import { answerErrors } from './base.ts';

export interface AppContext {
  /** 'desktop': the window of this machine asks. 'server': a browser, which may be on another. */
  readonly mode: 'desktop' | 'server';
  readonly dataFolder: string;
  readonly settings: SettingsStore;
}

const app = implement(appContract).$context<AppContext>().use(answerErrors);

export const appRouter = app.router({
  info: app.info.handler(({ context }) => infoOf(context)),
  settings: {
    get: app.settings.get.handler(({ context }) => context.settings.get()),
    set: app.settings.set.handler(({ input, context }) => context.settings.set(input)),
    watch: app.settings.watch.handler(({ context, signal }) => watch(context.settings, signal)),
  },
  diagnostics: app.diagnostics.handler(({ context }) => ({ text: diagnosticsOf(infoOf(context), context.settings.get()) })),
});

async function* watch(settings: SettingsStore, signal: AbortSignal | undefined): AsyncGenerator<Settings, undefined> {
  const publisher = new EventPublisher<{ changed: Settings }>();
  const changes = publisher.subscribe('changed', { signal });
  const stop = settings.onChange((changed) => publisher.publish('changed', changed));
  try {
    yield settings.get();
    yield* changes;
  } finally {
    stop();
  }
}

function infoOf({ mode, dataFolder, settings }: AppContext): AppInfo {
  const [first, ...others] = cpus();
  return {
    version: VERSION,
    mode,
    platform: platform(),
    arch: arch(),
    cpu: { model: first?.model ?? 'unknown', cores: 1 + others.length },
    memoryBytes: totalmem(),
    dataFolder,
    modelsFolder: modelsFolderOf({ settings, dataFolder }),
    notes: [...settings.notes],
  };
}

/** Where the models lie: where the user said, or in the data folder. */
export function modelsFolderOf({ settings, dataFolder }: Pick<AppContext, 'settings' | 'dataFolder'>): string {
  return settings.get().modelsFolder ?? join(dataFolder, 'models');
}

/** No file names: they hold the user's name, and the text is made to be shown to others. */
function diagnosticsOf({ version, mode, cpu, memoryBytes }: AppInfo, settings: Settings): string {
  const { modelsFolder, comfyuiFolders, ...shown } = settings;
  const { node, electron } = process.versions;
  const own = { modelsFolder: modelsFolder === null ? 'default' : 'own', comfyuiFolders: comfyuiFolders.length };
  return [
    `i2L Studio ${version} (${mode})`,
    `${platform()} ${release()} ${arch()}, Node ${node}${electron === undefined ? '' : `, Electron ${electron}`}`,
    `${cpu.cores} x ${cpu.model}, ${(memoryBytes / 2 ** 30).toFixed(1)} GiB of memory`,
    `settings: ${JSON.stringify({ ...shown, ...own })}`,
  ].join('\n');
}
