import { arch, cpus, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { EventPublisher, implement } from '@orpc/server';
import { appContract, type AppInfo, type PickRequest, type Settings, type SettingsChange } from '../contract/app.ts';
import { I2lError } from '../contract/errors.ts';
import type { JobView } from '../contract/queue.ts';
import { VERSION } from '../pipelines/version.ts';
import type { SettingsStore } from '../settings/settings.ts';
import { answerErrors } from './base.ts';
import type { DevicesContext } from './devices.ts';
import type { JobsContext } from './jobs.ts';
import type { SetsContext } from './sets.ts';

export interface AppContext extends Pick<SetsContext, 'allowPath'> {
  /** Who asks. 'desktop': the window of this machine. 'server': a browser, which may be on another. */
  readonly mode: 'desktop' | 'server';
  readonly dataFolder: string;
  readonly settings: SettingsStore;
  /** Opens a dialog of the system's; a server has none. What it gives passes allowPath afterwards. */
  readonly pick?: ((request: PickRequest) => Promise<readonly string[]>) | undefined;
}

const app = implement(appContract).$context<AppContext & JobsContext & DevicesContext>().use(answerErrors);

export const appRouter = app.router({
  info: app.info.handler(({ context }) => infoOf(context)),
  settings: {
    get: app.settings.get.handler(({ context }) => context.settings.get()),
    set: app.settings.set.handler(({ input, context }) => context.settings.set(withAllowedFolders(input, context))),
    watch: app.settings.watch.handler(({ context, signal }) => watch(context.settings, signal)),
  },
  pick: app.pick.handler(async ({ input, context: { pick } }) => {
    if (!pick) {
      const message = 'A browser can’t choose files of the machine that computes; give their path.';
      throw new I2lError('UNSUPPORTED', message, { reason: 'no-picker' });
    }
    return { paths: [...(await pick(input))] };
  }),
  diagnostics: app.diagnostics.handler(({ context }) => ({ text: diagnosticsOf(infoOf(context), context) })),
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

/** Folders that are set already stay; new ones are the client's word. @throws I2lError of allowPath */
function withAllowedFolders(change: SettingsChange, { settings, allowPath }: AppContext): SettingsChange {
  const { modelsFolder, comfyuiFolders } = settings.get();
  const known = new Set([modelsFolder, ...comfyuiFolders]);
  const allowed = (folder: string): string => (known.has(folder) ? folder : allowPath(folder));
  return {
    ...change,
    ...(change.modelsFolder ? { modelsFolder: allowed(change.modelsFolder) } : {}),
    ...(change.comfyuiFolders ? { comfyuiFolders: change.comfyuiFolders.map(allowed) } : {}),
  };
}

function infoOf({ mode, dataFolder, settings, pick }: AppContext): AppInfo {
  const [first, ...others] = cpus();
  return {
    version: VERSION,
    mode,
    canPick: pick !== undefined,
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
function diagnosticsOf(
  { version, mode, cpu, memoryBytes }: AppInfo,
  { settings, queue, devices }: AppContext & JobsContext & DevicesContext,
): string {
  const { modelsFolder, comfyuiFolders, ...shown } = settings.get();
  const { node, electron } = process.versions;
  const own = { modelsFolder: modelsFolder === null ? 'default' : 'own', comfyuiFolders: comfyuiFolders.length };
  return [
    `i2L Studio ${version} (${mode})`,
    `${platform()} ${release()} ${arch()}, Node ${node}${electron === undefined ? '' : `, Electron ${electron}`}`,
    `${cpu.cores} x ${cpu.model}, ${(memoryBytes / 2 ** 30).toFixed(1)} GiB of memory`,
    `settings: ${JSON.stringify({ ...shown, ...own })}`,
    ...devices.list().map(({ device, outcome, isAuto }) => `${device}: ${outcome?.state ?? 'not tested'}${isAuto ? ', auto' : ''}`),
    ...queue.list({ states: ['failed'], limit: LATEST_ERRORS }).map(errorLine),
  ].join('\n');
}

const LATEST_ERRORS = 10;

/** What it was and where it failed; the message names files. */
function errorLine({ kind, error, attempts, progress, finishedAt }: JobView): string {
  const when = finishedAt === null ? '' : `${new Date(finishedAt).toISOString().slice(0, 19)}Z `;
  const fields = ['stage', 'device', 'system', 'exitCode', 'signal'].flatMap((name) =>
    error?.fields[name] === undefined ? [] : [`${name} ${String(error.fields[name])}`],
  );
  return [`${when}${kind} failed: ${error?.code ?? 'unknown'}`, progress?.step ?? '', ...fields, `attempt ${attempts}`]
    .filter((part) => part !== '')
    .join(', ');
}
