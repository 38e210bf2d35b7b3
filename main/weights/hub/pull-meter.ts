import type { DownloadProgress, PullProgress } from '../../contract/models.ts';
import type { PlannedFile } from './pull.ts';
import type { HubSource } from './sources.ts';

/** One progress over all files of a pull. */
export class PullMeter {
  readonly #planned: readonly PlannedFile[];
  readonly #tell: ((progress: PullProgress) => void) | undefined;
  readonly #total: number;
  #bytes = 0;
  #files = 0;

  constructor(planned: readonly PlannedFile[], tell: ((progress: PullProgress) => void) | undefined) {
    this.#planned = planned;
    this.#tell = tell;
    this.#total = planned.reduce((sum, { file }) => sum + file.size, 0);
  }

  finished({ file }: PlannedFile): void {
    this.#bytes += file.size;
    this.#files++;
  }

  progress({ model, file }: PlannedFile, { hub, endpoint }: HubSource, now: DownloadProgress): void {
    const bytes = this.#bytes + now.bytes;
    const { bytesPerSecond, connections } = now;
    this.#tell?.({
      type: 'download',
      model: model.id,
      file: file.path,
      hub,
      endpoint,
      bytes,
      total: this.#total,
      fileBytes: now.bytes,
      fileTotal: now.total,
      filesDone: this.#files,
      filesTotal: this.#planned.length,
      bytesPerSecond,
      connections,
      ...(bytesPerSecond > 0 ? { etaSeconds: (this.#total - bytes) / bytesPerSecond } : {}),
    });
  }
}
