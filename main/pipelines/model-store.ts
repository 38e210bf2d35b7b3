import { join } from 'node:path';
import { I2lError } from '../contract/errors.ts';
import type { ModelsOverview } from '../contract/models-api.ts';
import {
  HUB_NAMES,
  type FoundModel,
  type HubAccess,
  type HubName,
  type ModelView,
  type PullProgress,
  type PullSource,
  type VerifiedFile,
  type VerifyProgress,
} from '../contract/models.ts';
import type { Note } from '../contract/notes.ts';
import { CATALOGUE, catalogueEntry, type CatalogueEntry } from '../weights/catalogue.ts';
import { bestOf, type Scan } from '../weights/discover.ts';
import { freeSpace } from '../weights/hub/free-space.ts';
import { HttpClient } from '../weights/hub/http.ts';
import { pullModels, type PulledFile } from '../weights/hub/pull.ts';
import { DownloadRecords, type DownloadRecord } from '../weights/hub/records.ts';
import { removeRecorded, type Removed } from '../weights/hub/remove.ts';
import { Repositories } from '../weights/hub/repositories.ts';
import { isHubItself, makeSource, sourceFromEnvironment, type HubSource } from '../weights/hub/sources.ts';
import { prepareRepair, verifyFound, verifyRecord } from '../weights/hub/verify.ts';
import { locateModel, missingHere } from '../weights/locate.ts';
import { findModels, type FindOptions, type ModelFolders } from './find-models.ts';
import { listModels } from './list-models.ts';
import { expertViews, unusedModels } from './models-overview.ts';

export interface ModelStoreOptions {
  readonly dataFolder: string;
  /** As they are now: the user's settings may change them. */
  readonly folders: () => Omit<ModelFolders, 'dataFolder'>;
  /** Of the user's accounts, from wherever they are kept safe: for the hubs themselves alone. Else from the environment. */
  readonly token?: ((hub: HubName) => Promise<string | undefined>) | undefined;
  readonly env?: NodeJS.ProcessEnv;
}

export interface StorePull {
  readonly models: readonly CatalogueEntry[];
  readonly source: PullSource;
  /** A mirror of the chosen hub. */
  readonly endpoint?: string | undefined;
  /** Another folder than the settings'. */
  readonly folder?: string | undefined;
  readonly acceptedLicences: readonly string[];
  readonly connections?: number | undefined;
  readonly bytesPerSecond?: number | undefined;
}

export interface StoreOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onNote?: ((note: Note) => void) | undefined;
}

/** What a look at files tells on its way, downloads among it. */
export interface VerifyOptions extends StoreOptions {
  readonly onProgress?: (progress: VerifyProgress | PullProgress) => void;
}

export interface StoreVerify {
  /** All that are here, if not given. */
  readonly models?: readonly CatalogueEntry[] | undefined;
  /** Damaged files of ours are downloaded again, as far as they are damaged. */
  readonly repair?: boolean;
  /** Asks the hubs what files of other programs have to be. */
  readonly online?: boolean;
}

/** The models of this machine: one service behind the command line, the queue's runners and the handlers. */
export class ModelStore {
  readonly records: DownloadRecords;
  readonly #options: ModelStoreOptions;

  constructor(options: ModelStoreOptions) {
    this.#options = options;
    this.records = new DownloadRecords(join(options.dataFolder, 'downloads'));
  }

  /** Everywhere on this machine; see findModels. @param named folders to look into before all others */
  async scan(named: readonly string[] = [], options: FindOptions = {}): Promise<Scan> {
    const { dataFolder, folders } = this.#options;
    const where = folders();
    return findModels({ dataFolder, ...where, named: [...named, ...(where.named ?? [])] }, options);
  }

  async list(named: readonly string[] = [], options: FindOptions = {}): Promise<ModelView[]> {
    const [{ models }, records] = await Promise.all([this.scan(named, options), this.records.list()]);
    return this.#views(models, records);
  }

  /** All that can be said of models without asking a network. @throws I2lError CANCELLED, FILE_UNREADABLE */
  async overview(options: FindOptions = {}): Promise<Omit<ModelsOverview, 'isFirstStart' | 'canKeepTokens'>> {
    const { modelsFolder } = this.#options.folders();
    const [{ models: found, others, troubles }, records] = await Promise.all([this.scan([], options), this.records.list()]);
    const models = await this.#views(found, records);
    return {
      models,
      experts: expertViews(models),
      unused: unusedModels(found, models),
      others,
      troubles: troubles.map((error) => error.toShape()),
      hubs: await Promise.all(HUB_NAMES.map((hub) => this.#access(hub))),
      modelsFolder,
      freeBytes: (await freeSpace(modelsFolder)) ?? null,
      missingBytes: models.reduce((sum, model) => sum + model.missingBytes, 0),
    };
  }

  #views(found: readonly FoundModel[], records: readonly DownloadRecord[]): Promise<ModelView[]> {
    const { modelsFolder } = this.#options.folders();
    return listModels(found, { records, modelsFolder, own: (id) => findIn(modelsFolder, id) });
  }

  async #access(hub: HubName): Promise<HubAccess> {
    const kept = await this.#options.token?.(hub);
    try {
      const { endpoint, token } = sourceFromEnvironment(hub, this.#options.env);
      return { hub, endpoint, token: kept !== undefined ? 'kept' : token !== undefined ? 'environment' : 'none' };
    } catch {
      // A download says what is wrong with the environment; the screen only that something is.
      return { hub, endpoint: null, token: 'none' };
    }
  }

  /**
   * Where models lie: in the app's folder, whatever their sizes, else wherever a published one is found.
   * @returns path by catalogue id. @throws I2lError MODEL_MISSING that names all that are missing, CANCELLED
   */
  async locate(ids: readonly string[], options: FindOptions = {}): Promise<Record<string, string>> {
    const { modelsFolder } = this.#options.folders();
    const paths = new Map(ids.map((id) => [id, findIn(modelsFolder, id)]));
    if ([...paths.values()].includes(undefined)) {
      const { models } = await this.scan([], options);
      for (const [id, path] of paths) paths.set(id, path ?? bestOf(models, id)?.path);
    }
    const missing = ids.filter((id) => paths.get(id) === undefined);
    if (missing.length > 0) throw missingHere(missing.map(catalogueEntry));
    return Object.fromEntries(paths) as Record<string, string>;
  }

  /** @throws I2lError what pullModels gives */
  async pull(
    pull: StorePull,
    options: StoreOptions & { readonly onProgress?: (progress: PullProgress) => void } = {},
  ): Promise<PulledFile[]> {
    const { models, acceptedLicences, connections, bytesPerSecond } = pull;
    const sources = await this.#sources(pull.source, pull.endpoint);
    const folder = pull.folder ?? this.#options.folders().modelsFolder;
    return withClient((client) =>
      pullModels(
        { models, folder, sources, acceptedLicences, connections, bytesPerSecond },
        { ...options, client, records: this.records },
      ),
    );
  }

  /**
   * Reads files whole and compares them with what they have to be.
   * @throws I2lError FILE_UNREADABLE, CANCELLED; with `repair` or `online` what pullModels gives
   */
  async verify({ models, repair = false, online = false }: StoreVerify, options: VerifyOptions = {}): Promise<VerifiedFile[]> {
    const isWanted = (id: string): boolean => models?.some((entry) => entry.id === id) ?? true;
    const records = (await this.records.list()).filter(({ model }) => isWanted(model));
    const own: VerifiedFile[] = [];
    for (const record of records) {
      const file = await verifyRecord(record, options);
      own.push(file.state === 'good' || !repair ? file : await this.#repair(record, options));
    }
    const others = await this.#verifyOthers(new Set(records.map(({ path }) => path)), isWanted, online, options);
    return [...own, ...others];
  }

  /** @throws I2lError BAD_ARGUMENT for models that the app did not download, and what removeRecorded gives */
  async remove(models: readonly CatalogueEntry[]): Promise<Removed[]> {
    const records = await this.records.list();
    const removed: Removed[] = [];
    for (const { id, title } of models) {
      const own = records.filter(({ model }) => model === id);
      if (own.length === 0) {
        const message = `${title}: this app did not download it, so it removes nothing; see where it lies with "i2l models ls".`;
        throw new I2lError('BAD_ARGUMENT', message, { model: id, title, reason: 'not-downloaded-here' });
      }
      removed.push(...(await removeRecorded(own, this.records)));
    }
    return removed;
  }

  async #repair(record: DownloadRecord, options: VerifyOptions): Promise<VerifiedFile> {
    const entry = catalogueEntry(record.model);
    await prepareRepair(record);
    const folder = record.path.slice(0, -join(entry.hubs.huggingface, record.file).length - 1);
    // Its terms were accepted when it was downloaded.
    await this.pull({ models: [entry], source: 'auto', folder, acceptedLicences: [entry.licence.id] }, options);
    const again = await this.records.of(record.path);
    return verifyRecord(again ?? record, options);
  }

  async #verifyOthers(
    ours: ReadonlySet<string>,
    isWanted: (id: string) => boolean,
    online: boolean,
    options: VerifyOptions,
  ): Promise<VerifiedFile[]> {
    const { models } = await this.scan([], options);
    const verified: VerifiedFile[] = [];
    const sources = online ? await this.#sources('auto', undefined) : [];
    await withClient(async (client) => {
      const repositories = new Repositories(client, sources, options);
      for (const { id, files } of models) {
        const entry = CATALOGUE.find((candidate) => candidate.id === id);
        if (!entry || !isWanted(entry.id)) continue;
        const published = online ? (await repositories.of(entry)).files : undefined;
        for (const path of files.filter((file) => !ours.has(file))) {
          const remote = [entry.file, ...entry.parts].find(
            (name) => entry.parts.length === 0 || path.endsWith(name.split('/').at(-1) ?? name),
          );
          const hash = remote === undefined ? undefined : published?.get(remote)?.hash;
          verified.push(
            await verifyFound(path, entry.id, { ...options, sha256: hash?.kind === 'sha256' ? hash.value : undefined }),
          );
        }
      }
    });
    return verified;
  }

  async #sources(source: PullSource, endpoint: string | undefined): Promise<HubSource[]> {
    if (endpoint !== undefined && source === 'auto') {
      throw new I2lError('BAD_ARGUMENT', '--endpoint: say with --from which hub it is a mirror of.', {
        option: 'endpoint',
        reason: 'mirror-without-hub',
      });
    }
    const hubs: readonly HubName[] = source === 'auto' ? ['huggingface', 'modelscope'] : [source];
    return Promise.all(hubs.map((hub) => this.#source(hub, endpoint)));
  }

  async #source(hub: HubName, endpoint: string | undefined): Promise<HubSource> {
    const fromEnv = sourceFromEnvironment(hub, this.#options.env);
    const source = makeSource(hub, endpoint ?? fromEnv.endpoint, fromEnv.token);
    // A page may name any mirror, and it is given no secret that this app keeps.
    const kept = isHubItself(source) ? await this.#options.token?.(hub) : undefined;
    return kept === undefined ? source : makeSource(hub, source.endpoint, kept);
  }
}

/** In a folder that needn't be there. */
function findIn(folder: string, id: string): string | undefined {
  try {
    return locateModel(folder, id).path;
  } catch (error) {
    const { code } = I2lError.from(error);
    if (code === 'MODEL_MISSING' || code === 'FILE_NOT_FOUND') return undefined;
    throw error;
  }
}

async function withClient<T>(work: (client: HttpClient) => Promise<T>): Promise<T> {
  const client = new HttpClient();
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}
