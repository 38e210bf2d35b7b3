import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import sharp from 'sharp';
import { beforeAll, expect, test } from 'vitest';
import { endOf, startCli, type CliRun } from '../cli/run-cli.ts';
import { FakeHome } from '../comfyui/fake-home.ts';
import { tempFolder } from '../unit/temp.ts';
import { moments } from './processes.ts';
import { makeSlowJob, type SlowJob } from './slow-job.ts';

/**
 * A batch and an export, killed with all their processes at random moments and started again: what is there is
 * whole, nothing is done twice, nothing is left over. I2L_KILLS sets how often; npm run test:chaos does it 100 times.
 */
const KILLS = Number(process.env['I2L_KILLS'] ?? 3);
const SEED = 41;
/** Bytes: the smallest budget is that of one image. */
const MORE_IMAGES = 4 << 20;
const SETS = ['ash', 'birch', 'cedar', 'damson', 'elder'];

const folder = tempFolder();
const styles = join(folder, 'styles');
const home = join(folder, 'home');
const output = join(folder, 'loras');
let slow: SlowJob;
/** What an undisturbed run makes. */
const whole = new Map<string, Buffer>();
let duration: number;

beforeAll(async () => {
  slow = makeSlowJob(folder);
  for (const [i, style] of SETS.entries()) {
    mkdirSync(join(styles, style), { recursive: true });
    const background = { r: 50 * i, g: 90, b: 200 - 40 * i };
    await sharp({ create: { width: 40, height: 40, channels: 3, background } })
      .png()
      .toFile(join(styles, style, '1.png'));
  }
  const started = performance.now();
  expect((await endOf(startBatch())).code).toBe(0);
  duration = performance.now() - started;
  for (const name of readdirSync(output)) whole.set(name, readFileSync(join(output, name)));
  startAfresh();
}, 60_000);

function startBatch(): ReturnType<typeof startCli> {
  const options = [
    '--models',
    slow.models,
    '--memory',
    String(slow.memory + MORE_IMAGES),
    '--device',
    'cpu',
    '--threads',
    '1',
    '--json',
  ];
  return startCli(['batch', styles, '-o', output, ...options], { env: { I2L_HOME: home }, detached: true });
}

function startAfresh(): void {
  for (const path of [output, home]) rmSync(path, { recursive: true, force: true });
}

/** Kills a process and all that it started, as a power cut does. @returns undefined if it was, its end if it was done before */
async function killedAfter(child: ReturnType<typeof startCli>, delay: number): Promise<CliRun | undefined> {
  const end = endOf(child);
  const first = await Promise.race([end, setTimeout(delay)]);
  if (first) return first;
  process.kill(-(child.pid ?? 0), 'SIGKILL');
  const run = await end;
  return run.signal === 'SIGKILL' ? undefined : run;
}

const filesIn = (path: string): string[] => (existsSync(path) ? readdirSync(path) : []);
const finishedIn = (path: string): string[] => filesIn(path).filter((name) => !name.endsWith('.i2l-part'));

test.runIf(process.platform !== 'win32')(`a batch of ${SETS.length} sets, ${KILLS} kills`, { timeout: 60_000 + KILLS * 10_000 }, async () => {
  let kills = 0;
  for (const delay of moments(KILLS, duration, SEED)) {
    const before = finishedIn(output);
    const run = await killedAfter(startBatch(), delay);
    if (run) expect(run.code, run.stdout).toBe(0);
    else kills++;
    const finished = finishedIn(output);
    expect(before.every((name) => finished.includes(name)), 'nothing that was made is gone').toBe(true);
    for (const name of finished) expect(readFileSync(join(output, name)).equals(whole.get(name) ?? Buffer.of()), name).toBe(true);
    if (finished.length === SETS.length) startAfresh();
  }
  const last = await endOf(startBatch());
  expect(last.code, last.stdout).toBe(0);
  expect(filesIn(output).sort()).toEqual([...whole.keys()].sort());
  expect(kills).toBeGreaterThan(KILLS / 4);
}); // prettier-ignore

test.runIf(process.platform !== 'win32')(`an export, ${KILLS} kills`, { timeout: 60_000 + KILLS * 10_000 }, async () => {
  const user = new FakeHome(folder, process.platform === 'darwin' ? 'darwin' : 'linux');
  const comfy = user.comfy('ComfyUI');
  const loras = join(comfy, 'models', 'loras', 'i2L');
  const [name = ''] = whole.keys();
  const lora = join(folder, name);
  mkdirSync(output, { recursive: true });
  if (!existsSync(join(output, name))) expect((await endOf(startBatch())).code).toBe(0);
  copyFileSync(join(output, name), lora);
  const start = (): ReturnType<typeof startCli> =>
    startCli(['export', lora, '--comfyui', comfy, '--sidecar', '--json'], { env: { ...user.env, I2L_HOME: home }, detached: true });
  const started = performance.now();
  expect((await endOf(start())).code).toBe(0);
  const took = performance.now() - started;
  for (const delay of moments(KILLS, took, SEED)) {
    rmSync(loras, { recursive: true, force: true });
    await killedAfter(start(), delay);
    for (const file of finishedIn(loras).filter((found) => found.endsWith('.safetensors')))
      expect(readFileSync(join(loras, file)).equals(whole.get(name) ?? Buffer.of()), file).toBe(true);
    const again = await endOf(start());
    expect(again.code, again.stdout).toBe(0);
    expect(finishedIn(loras).filter((found) => found.endsWith('.safetensors'))).toEqual([name]);
    const exports = await endOf(startCli(['comfyui', '--exports', '--json'], { env: { ...user.env, I2L_HOME: home } }));
    expect(JSON.parse(exports.stdout)).toMatchObject({ exports: [{ state: 'present', entry: { path: join(loras, name) } }] });
  }
}); // prettier-ignore
