import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { qwenImage, targetBlocks } from '../../main/lora/targets.ts';
import { answerFor, chooseRanks } from '../../main/lora/spectrum.ts';
import { readSpectrum } from '../../main/pipelines/spectrum-file.ts';
import { writeSynthetic } from '../../main/weights/synthetic.ts';
import { judge, measured, megabytes, type Measured } from './measure.ts';

/** LoRA algebra on LoRAs of Qwen-Image with all of its 720 modules, random values in bf16. */
export interface RankOptions {
  readonly folder: string | undefined;
  readonly keep: boolean;
  /** Each figure is the best of so many: what other work on the machine adds is not ours. */
  readonly repeats: number;
}

const BARS = { rank20: 3, rank48: 10, peakBytes: 1.5e9, answerMs: 16, cutToCopy: 1.5 } as const;

export async function benchRank({ folder, keep, repeats }: RankOptions): Promise<void> {
  const home = folder ?? mkdtempSync(join(tmpdir(), 'i2l-bench-'));
  mkdirSync(home, { recursive: true });
  console.log(`load average at the start: ${loadavg().map((load) => load.toFixed(1)).join(' ')}; best of ${repeats}`); // prettier-ignore
  try {
    const [small, large] = [makeLora(home, 20), makeLora(home, 48)];
    const run = (what: string, args: readonly string[]): Promise<Measured> =>
      best(what, args, join(home, 'out.safetensors'), repeats);
    judgeRun(await run('rank 20 to 16', ['rank', small, '--rank', '16']), BARS.rank20);
    judgeRun(await run('rank 48 to 32', ['rank', large, '--rank', '32']), BARS.rank48);
    await run('rank 20, energy 0.9 for each module', ['rank', small, '--energy', '0.9', '--per-module']);
    await run('rank 20 to 32', ['rank', small, '--rank', '32']);
    await run('merge of 20 and 48', ['merge', `${small}:0.7`, `${large}:0.3`]);
    await benchCut(home, small, repeats);
    await benchAnswers(home, large);
  } finally {
    if (!keep) rmSync(home, { recursive: true, force: true });
    else console.log(`kept: ${home}`);
  }
}

/** @returns the path of a LoRA of this rank; one that is there is kept */
function makeLora(home: string, rank: number): string {
  const path = join(home, `qwen-image-rank-${rank}.safetensors`);
  const layout = targetBlocks(qwenImage()).flatMap(({ modules }) =>
    modules.flatMap(({ path: module, in: inner, out }) => [
      { name: `diffusion_model.${module}.lora_A.weight`, shape: [rank, inner] },
      { name: `diffusion_model.${module}.lora_B.weight`, shape: [out, rank] },
    ]),
  );
  if (!existsSync(path)) writeSynthetic(path, layout, { seed: rank });
  return path;
}

async function best(what: string, args: readonly string[], output: string, repeats: number): Promise<Measured> {
  const runs: Measured[] = [];
  for (let i = 0; i < repeats; i++) {
    rmSync(output, { force: true });
    runs.push(await measured([...args, '-o', output]));
  }
  const [fastest] = runs.toSorted((a, b) => a.wall - b.wall) as [Measured];
  const walls = runs.map(({ wall }) => wall.toFixed(1)).join(', ');
  console.log(
    `${what}: ${fastest.wall.toFixed(2)} s for the command (all: ${walls}), ${fastest.result.seconds.toFixed(2)} s in the engine; peak memory of all processes ${megabytes(Math.max(...runs.map(({ peak }) => peak)))}`,
  );
  return { ...fastest, peak: Math.max(...runs.map(({ peak }) => peak)) };
}

function judgeRun({ wall, peak }: Measured, seconds: number): void {
  judge('  seconds', wall, seconds, 'at most');
  judge('  peak memory / 1.5 GB', peak / BARS.peakBytes, 1, 'at most');
}

/** A LoRA whose components are sorted is cut about as fast as its bytes are copied, the flush to the disk counted in both. */
async function benchCut(home: string, lora: string, repeats: number): Promise<void> {
  const sorted = join(home, 'sorted.safetensors');
  const output = join(home, 'cut.safetensors');
  await measured(['rank', lora, '--rank', '20', '-o', sorted]);
  const { result, wall } = await best('cut of a sorted rank 20 to 16', ['rank', sorted, '--rank', '16'], output, repeats);
  const copies = Array.from({ length: repeats }, () => copySeconds(output, join(home, 'copy.safetensors')));
  const copy = Math.min(...copies);
  console.log(`  plain copy of its ${megabytes(statSync(output).size)}, flushed: ${copy.toFixed(2)} s (all: ${copies.map((s) => s.toFixed(1)).join(', ')}); start of the two processes ${(wall - result.seconds).toFixed(2)} s`); // prettier-ignore
  judge('  engine / copy', result.seconds / copy, BARS.cutToCopy, 'at most');
}

/** The bytes of a file to another as the app keeps its files: flushed, then given their name. */
function copySeconds(from: string, to: string): number {
  rmSync(to, { force: true });
  const started = performance.now();
  const buffer = Buffer.allocUnsafe(8 << 20);
  const [source, target] = [openSync(from, 'r'), openSync(`${to}.part`, 'w')];
  for (let got = readSync(source, buffer); got > 0; got = readSync(source, buffer)) writeSync(target, buffer, 0, got);
  fsyncSync(target);
  for (const fd of [source, target]) closeSync(fd);
  renameSync(`${to}.part`, to);
  return (performance.now() - started) / 1000;
}

/** What a rank slider asks, over and over, of the kept singular values. */
async function benchAnswers(home: string, lora: string): Promise<void> {
  const data = join(home, 'data');
  process.env['I2L_HOME'] = data;
  const { wall } = await measured(['rank', lora, '--spectrum']);
  const again = await measured(['rank', lora, '--spectrum']);
  console.log(`spectrum of rank 48: ${wall.toFixed(2)} s for the command, ${again.wall.toFixed(2)} s when it is kept already`);
  const [file = ''] = readSpectra(data);
  const spectrum = readSpectrum(file);
  const times: number[] = [];
  for (let rank = 1; rank <= 48; rank++) {
    for (const choice of [
      { kind: 'fixed' as const, rank },
      { kind: 'energy' as const, share: rank / 48, perModule: true },
      { kind: 'energy' as const, share: rank / 48, perModule: false },
      { kind: 'ratio' as const, ratio: rank, perModule: true },
    ]) {
      const started = performance.now();
      answerFor(spectrum, chooseRanks(spectrum, choice), 2);
      times.push(performance.now() - started);
    }
  }
  times.sort((a, b) => a - b);
  console.log(`answers from the kept singular values: median ${times[times.length >> 1]?.toFixed(2)} ms`);
  judge('  slowest, ms', times.at(-1) ?? Infinity, BARS.answerMs, 'at most');
}

function readSpectra(data: string): string[] {
  const folder = join(data, 'cache', 'spectra');
  return readdirSync(folder).map((name) => join(folder, name));
}
