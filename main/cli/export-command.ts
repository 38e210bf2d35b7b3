import { join, resolve } from 'node:path';
import { findInstalls, type ComfyInstall } from '../comfyui/locate.ts';
import type { ExportResult } from '../comfyui/export.ts';
import { checkExports, RECORD_NAME } from '../comfyui/record.ts';
import { I2lError } from '../contract/errors.ts';
import { fixedRankJob } from '../contract/fixed-rank-job.ts';
import { formatBytes } from '../contract/format-bytes.ts';
import { dataFolder } from '../data-folder.ts';
import { exportLora } from '../pipelines/export-comfyui.ts';
import { runEngineJob, type CommandContext, type EngineOptions } from './commands.ts';
import { exportForTrainer, type TrainerOptions } from './trainer-command.ts';

/** i2l export: a LoRA to the program that uses it. i2l comfyui: where that would be. */

export interface ExportOptions extends EngineOptions, Omit<TrainerOptions, 'trigger' | 'rank'> {
  /** true: the install of this machine. */
  readonly comfyui?: string | true;
  readonly rank?: number;
  readonly name?: string;
  readonly subfolder?: string;
  readonly preview?: string;
  readonly sidecar?: boolean;
  readonly trigger?: readonly string[];
  readonly strength?: number;
  readonly dtype: string;
}

export async function exportFile(context: CommandContext, file: string, options: ExportOptions): Promise<void> {
  if (options.for !== undefined && options.comfyui === undefined) return exportForTrainer(context, file, options.for, options);
  if (options.comfyui === undefined) {
    throw new I2lError('BAD_ARGUMENT', 'export needs to know where to: --comfyui [FOLDER], or --for TRAINER -o FOLDER.', {
      option: 'comfyui',
    });
  }
  if (options.for !== undefined)
    throw new I2lError('BAD_ARGUMENT', 'export goes to one place: give --comfyui or --for, not both.', { option: 'for' });
  const { rank, name, subfolder, preview, sidecar = false, trigger, strength, dtype, memory, device, threads } = options;
  const exported = await exportLora(
    {
      file: resolve(file),
      folder: options.comfyui === true ? undefined : options.comfyui,
      rank,
      name,
      subfolder,
      preview: preview === undefined ? undefined : resolve(preview),
      sidecar,
      details: { triggerWords: trigger, strength },
    },
    {
      dataFolder: dataFolder(),
      signal: context.signal,
      resetRank: (source, to, output) =>
        runEngineJob(context, fixedRankJob(source, to, { output, dtype, keyForm: 'comfyui', memory, device, threads })),
    },
  );
  for (const note of exported.notes) context.report.event({ type: 'note', ...note });
  context.report.result(exportWords(exported), { type: 'export', ...exported });
}

function exportWords({ path, bytes, loraName, sidecars }: ExportResult): string {
  return [
    path,
    `  ${formatBytes(bytes)}; ComfyUI calls it ${loraName} (press R there to see it)`,
    ...sidecars.map((beside) => `  with ${beside}`),
  ].join('\n');
}

export interface ComfyuiOptions {
  readonly exports?: boolean;
}

export async function comfyui(context: CommandContext, folders: readonly string[], options: ComfyuiOptions): Promise<void> {
  if (options.exports) return listExports(context);
  const installs = findInstalls({ roots: folders });
  const words = installs.length === 0 ? 'No ComfyUI was found on this machine.' : installs.map(installWords).join('\n');
  context.report.result(words, { type: 'comfyui', installs });
}

function installWords({ kind, root, lorasFolders, notes }: ComfyInstall): string {
  const folders = lorasFolders.map(({ path, isDefault, writable, source }) => {
    const facts = [isDefault && 'default', !writable && 'not writable', source !== 'models' && `from ${source}`];
    const said = facts.filter((fact) => typeof fact === 'string').join(', ');
    return `  ${path}${said === '' ? '' : ` (${said})`}`;
  });
  return [`${root} (${kind})`, ...folders, ...notes.map(({ message }) => `  ${message}`)].join('\n');
}

async function listExports({ report }: CommandContext): Promise<void> {
  const exports = await checkExports(join(dataFolder(), RECORD_NAME));
  const lines = exports.map(({ entry, state }) => `${state.padEnd(10)}  ${entry.at.slice(0, 10)}  ${entry.path}`);
  report.result(lines.length === 0 ? 'Nothing has been exported yet.' : lines.join('\n'), { type: 'exports', exports });
}
