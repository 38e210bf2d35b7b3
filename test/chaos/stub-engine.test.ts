import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { endOf } from '../cli/run-cli.ts';
import { tempFolder } from '../unit/temp.ts';

/** What the caller makes of an engine that misbehaves: engine-process.ts beside a stand-in for engine.ts. */
const folder = tempFolder();
const real = (name: string): string => realpathSync(fileURLToPath(new URL(`../../main/${name}`, import.meta.url)));

/** Each waits for the job first. A minute is for ever here. */
const BEHAVIOURS = {
  garbage: `process.send('garbage'); setTimeout(() => undefined, 60_000);`,
  halfResult: `process.send({ type: 'done', output: 'x' }); setTimeout(() => undefined, 60_000);`,
  unknownCode: `process.send({ type: 'failed', error: { code: 'NO_SUCH_CODE', message: '', fields: {} } }); setTimeout(() => undefined, 60_000);`,
  garbageWithPart: `writeFileSync(job.output + '.' + process.pid + '-0.i2l-part', 'half'); process.send({}); setTimeout(() => undefined, 60_000);`,
  unknownNote: `process.send({ type: 'note', code: 'NO_SUCH_NOTE', message: '', fields: {} }); setTimeout(() => undefined, 60_000);`,
  exit: `process.stderr.write('the last words', () => process.exit(3));`,
  exitWithPart: `writeFileSync(job.output + '.' + process.pid + '-0.i2l-part', 'half'); process.exit(0);`,
  abort: `process.abort();`,
  thrown: `throw new Error('from native code');`,
  chatty: `process.stderr.write('x'.repeat(100_000) + 'the end', () => process.exit(1));`,
  note: `process.send({ type: 'note', code: 'WEIGHTS_KEPT', message: 'hello', fields: { bytes: 1 } }); process.send({ type: 'failed', error: { code: 'DISK_FULL', message: 'm', fields: { file: 'f' } } }, () => process.exit());`,
} as const;
type Behaviour = keyof typeof BEHAVIOURS;

interface Told {
  readonly behaviour: Behaviour;
  readonly code: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly events: number;
  readonly seconds: number;
}

const STUB = `
import { writeFileSync } from 'node:fs';
process.on('message', ({ job }) => {
  switch (process.env['STUB']) {
    ${Object.entries(BEHAVIOURS)
      .map(([name, body]) => `case '${name}': { ${body} break; }`)
      .join('\n    ')}
  }
});
`;

const CALLER = `
import { runInEngine } from './engine-process.ts';
const job = { kind: 'encode', output: process.argv[2] };
for (const behaviour of process.argv.slice(3)) {
  process.env['STUB'] = behaviour;
  const started = performance.now();
  let events = 0;
  try {
    await runInEngine(job, { onEvent: () => events++ });
    console.log(JSON.stringify({ behaviour, code: 'none' }));
  } catch ({ code, message, fields }) {
    console.log(JSON.stringify({ behaviour, code, message, fields, events, seconds: (performance.now() - started) / 1000 }));
  }
}
`;

let told: ReadonlyMap<string, Told>;
let code: number | null;

beforeAll(async () => {
  const main = join(folder, 'main');
  mkdirSync(main);
  for (const layer of ['contract', 'weights', 'onnx']) symlinkSync(real(layer), join(main, layer), 'junction');
  copyFileSync(real('engine-process.ts'), join(main, 'engine-process.ts'));
  writeFileSync(join(main, 'engine.ts'), STUB);
  writeFileSync(join(main, 'caller.ts'), CALLER);
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  const child = spawn(process.execPath, [join(main, 'caller.ts'), join(folder, 'out.safetensors'), ...Object.keys(BEHAVIOURS)]);
  const run = await endOf(child);
  code = run.code;
  expect(run.stderr).toBe('');
  const lines = run.stdout.trim().split('\n');
  told = new Map(lines.map((line) => JSON.parse(line) as Told).map((one) => [one.behaviour, one]));
});

function of(behaviour: Behaviour): Told {
  const one = told.get(behaviour);
  expect(one, behaviour).toBeDefined();
  return one as Told;
}

test('every one of them gets an answer, and the caller can end', () => {
  expect([...told.keys()]).toEqual(Object.keys(BEHAVIOURS));
  expect(code).toBe(0);
  for (const { behaviour, seconds } of told.values()) expect(seconds, behaviour).toBeLessThan(10);
});

test.each(['garbage', 'halfResult', 'unknownCode', 'unknownNote', 'garbageWithPart'] as const)('%s is refused', (behaviour) => {
  expect(of(behaviour).code).toBe('ENGINE_PROTOCOL');
});

test.each(['exit', 'exitWithPart', 'abort', 'thrown', 'chatty'] as const)('%s is a crash', (behaviour) => {
  expect(of(behaviour).code).toBe('ENGINE_CRASHED');
});

test('a crash says how, with the end of what was printed', () => {
  expect(of('exit').fields).toMatchObject({ exitCode: 3, stderr: 'the last words' });
  expect(of('abort').fields).toMatchObject(process.platform === 'win32' ? {} : { signal: 'SIGABRT' });
  expect(of('thrown').fields).toMatchObject({ stderr: expect.stringContaining('from native code') as string });
  const { stderr } = of('chatty').fields as { stderr: string };
  expect(stderr.endsWith('the end')).toBe(true);
  expect(stderr.length).toBeLessThan(5000);
});

test('what they left half-written is gone', () => {
  expect(readdirSync(folder).filter((name) => name.includes('i2l-part'))).toEqual([]);
});

test('a failure keeps its code and fields, and notes arrive before it', () => {
  expect(of('note')).toMatchObject({ code: 'DISK_FULL', fields: { file: 'f' }, events: 1 });
});
