import { dirname, join } from 'node:path';
import { implement } from '@orpc/server';
import { findInstalls } from '../comfyui/locate.ts';
import { KEY_FORMS, type RankChoice } from '../contract/job.ts';
import { loraWorkContract, type SpectrumAnswer } from '../contract/lora-work.ts';
import type { LoraView } from '../contract/loras.ts';
import { OPEN_STATES, type JobView } from '../contract/queue.ts';
import { keptSpectrum } from '../pipelines/spectrum-cache.ts';
import { spectrumView } from '../pipelines/spectrum-view.ts';
import type { AppContext } from './app.ts';
import { answerErrors } from './base.ts';
import type { JobsContext } from './jobs.ts';
import type { SetsContext } from './sets.ts';
import { makeFolderSync } from '../weights/make-folder.ts';

export type LoraWorkContext = SetsContext & JobsContext & Pick<AppContext, 'dataFolder' | 'settings'>;

const work = implement(loraWorkContract).$context<LoraWorkContext>().use(answerErrors);

export const loraWorkRouter = work.router({
  spectrum: work.spectrum.handler(({ input: { id }, context }) => spectrumOf(context, id)),
  resetRank: work.resetRank.handler(({ input: { id, choice, split, dtype, name }, context }) => {
    const lora = context.library.loras.view(id);
    const named = name ?? `${lora.name}-${rankWord(choice)}`;
    return enqueue(context, 'reset-rank', `${lora.name}: ${rankWord(choice)}`, {
      ...{ file: lora.file, choice, split, dtype, keyForm: keyFormOf(lora) },
      output: context.library.freeFiles.forNew(named),
      library: { name: named, parentId: id, ...(lora.setId === null ? {} : { setId: lora.setId }) },
    });
  }),
  merge: work.merge.handler(({ input: { inputs, rank, dtype, name }, context }) => {
    const loras = inputs.map(({ id }) => context.library.loras.view(id));
    return enqueue(
      context,
      rank === undefined ? 'merge' : 'merge-at-rank',
      `${name}: ${loras.map((lora) => lora.name).join(' + ')}`,
      {
        inputs: loras.map(({ file }, i) => ({ file, strength: inputs[i]?.strength })),
        ...(rank === undefined ? {} : { rank }),
        ...{ dtype, keyForm: 'comfyui', output: context.library.freeFiles.forNew(name), library: { name } },
      },
    );
  }),
  compare: work.compare.handler(({ input, context }) => {
    const [a, b] = [context.library.loras.view(input.a), context.library.loras.view(input.b)];
    return enqueue(context, 'diff', `${a.name} ↔ ${b.name}`, { a: a.file, b: b.file });
  }),
  exportToComfyui: work.exportToComfyui.handler(({ input: { ids, folder, rank, ...options }, context }) => {
    const loras = ids.map((id) => context.library.loras.view(id));
    const [first] = loras;
    const title = `${loras.length === 1 ? (first?.name ?? '') : `${loras.length} LoRAs`} → ComfyUI`;
    return enqueue(context, rank === undefined ? 'export' : 'export-at-rank', title, {
      ...{ loras: ids, rank, ...options },
      installs: context.settings.get().comfyuiFolders,
      ...(folder === undefined ? {} : { folder: installFolder(folder, context) }),
    });
  }),
  exportForTrainer: work.exportForTrainer.handler(({ input: { id, folder, ...options }, context }) => {
    const lora = context.library.loras.view(id);
    const input = { lora: id, folder: context.allowPath(folder), ...options };
    return enqueue(context, 'export-training', `${lora.name} → ${options.trainer}`, input);
  }),
});

/** An install that the app finds by itself, or one that the client names. @throws I2lError of allowPath */
function installFolder(folder: string, { settings, allowPath }: LoraWorkContext): string {
  const found = findInstalls({ roots: settings.get().comfyuiFolders });
  return found.some(({ root }) => root === folder) ? folder : allowPath(folder);
}

/** With the user's settings for the engine; a kind that has none leaves them out. */
function enqueue({ queue, settings }: LoraWorkContext, kind: string, title: string, input: object): JobView {
  const { memory, device, threads } = settings.get();
  return queue.enqueue({ kind, title, input: { kind, ...input, memory, device, threads } });
}

async function spectrumOf(context: LoraWorkContext, id: number): Promise<SpectrumAnswer> {
  const lora = await context.library.loras.get(id);
  // Of a file that was changed since, the library knows the tensors no more.
  const known = lora.state === 'present' ? lora.tensorHash : undefined;
  const { path, spectrum } = keptSpectrum(lora.file, join(context.dataFolder, 'cache'), known);
  if (spectrum) return { state: 'ready', ...spectrumView(spectrum) };
  const running = spectrumJob(context, path);
  if (running) return { state: 'computing', job: running.id };
  makeFolderSync(dirname(path));
  const job = enqueue(context, 'spectrum', lora.name, { file: lora.file, output: path });
  return { state: 'computing', job: job.id };
}

/** One that is on its way already, for whichever window. */
function spectrumJob({ queue }: LoraWorkContext, output: string): JobView | undefined {
  return queue.list({ states: OPEN_STATES, kinds: ['spectrum'] }).find(({ id }) => {
    const { input } = queue.get(id);
    return typeof input === 'object' && input !== null && 'output' in input && input.output === output;
  });
}

function keyFormOf({ keyForm }: LoraView): string {
  return KEY_FORMS.find((known) => known === keyForm) ?? 'comfyui';
}

/** E.g. 'r16': what stands behind a name. */
function rankWord(choice: RankChoice): string {
  if (choice.kind === 'fixed') return `r${choice.rank}`;
  return choice.kind === 'energy' ? `e${Number((100 * choice.share).toFixed(2))}` : `s${choice.ratio}`;
}
