import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { checkExports, nameHistory, readExports, recordExport, RECORD_NAME } from '../../main/comfyui/record.ts';
import { contentOf } from '../../main/weights/atomic-copy.ts';
import { expectRefusal, rejectionOf } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';
import { makeLora } from './fake-home.ts';

const root = tempFolder();
const setUp = (): { folder: string; record: string } => {
  const folder = mkdtempSync(join(root, 'case-'));
  return { folder, record: join(folder, 'data', RECORD_NAME) };
};

async function exported(folder: string, name: string, value = 1): Promise<{ path: string; sha256: string }> {
  const path = makeLora(join(folder, name), value);
  return { path, sha256: (await contentOf(path)).sha256 };
}

const states = async (record: string): Promise<string[]> => (await checkExports(record)).map(({ state }) => state);

describe('the record of exports', () => {
  test('no record is an empty one', async () => {
    const { record } = setUp();
    expect(await readExports(record)).toEqual([]);
    expect(existsSync(record)).toBe(false);
  });

  test('keeps what was added, the last of each path', async () => {
    const { folder, record } = setUp();
    const one = await exported(folder, 'one.safetensors');
    const two = await exported(folder, 'two.safetensors', 2);
    await recordExport(record, one, new Date(0));
    await recordExport(record, two);
    const entry = await recordExport(record, one, new Date(1000));
    expect(entry).toMatchObject({ sourceHash: one.sha256, path: one.path, at: '1970-01-01T00:00:01.000Z' });
    expect((await readExports(record)).map(({ path }) => path)).toEqual([two.path, one.path]);
    expect(readdirSync(join(folder, 'data'))).toEqual([RECORD_NAME]);
  });

  test('tells what is there, missing or changed', async () => {
    const { folder, record } = setUp();
    for (const name of ['same', 'gone', 'longer', 'touched', 'edited', 'folder']) {
      await recordExport(record, await exported(folder, `${name}.safetensors`));
    }
    const path = (name: string): string => join(folder, `${name}.safetensors`);
    rmSync(path('gone'));
    writeFileSync(path('longer'), 'something else');
    utimesSync(path('touched'), 1, 1);
    makeLora(path('edited'), 9);
    utimesSync(path('edited'), 2, 2);
    rmSync(path('folder'));
    mkdirSync(path('folder'));
    expect(await states(record)).toEqual(['present', 'missing', 'changed', 'present', 'changed', 'changed']);
  });

  test('an export that is not there can not be recorded', async () => {
    const { folder, record } = setUp();
    const path = join(folder, 'none.safetensors');
    expectRefusal(
      await rejectionOf(recordExport(record, { path, sha256: '0'.repeat(64) })),
      'FILE_NOT_FOUND',
      path,
      /no such file/,
    );
  });

  test('knows the names that had other content', async () => {
    const { folder, record } = setUp();
    const one = await exported(folder, 'one.safetensors');
    await recordExport(record, one);
    const wasUsed = await nameHistory(record);
    expect([wasUsed(one.path, one.sha256), wasUsed(one.path, 'other'), wasUsed(join(folder, 'new'), 'other')]).toEqual([
      false,
      true,
      false,
    ]);
  });
});

describe('a damaged record', () => {
  test.each(['', '{"version": 1, "exp', 'null', '[]', '{"version": 1}', '\0\0\0\0', '{"version":"1","exports":[]}'])(
    'is set aside, not lost: %j',
    async (text) => {
      const { folder, record } = setUp();
      mkdirSync(join(folder, 'data'));
      writeFileSync(record, text);
      expect(await readExports(record)).toEqual([]);
      const aside = readdirSync(join(folder, 'data')).filter((name) => name.includes('.damaged-'));
      expect(aside).toHaveLength(1);
      expect(readFileSync(join(folder, 'data', aside[0]!), 'utf8')).toBe(text);
      await recordExport(record, await exported(folder, 'a.safetensors'));
      expect(await states(record)).toEqual(['present']);
    },
  );

  test('what is readable of it is taken over', async () => {
    const { folder, record } = setUp();
    const entry = await recordExport(record, await exported(folder, 'a.safetensors'));
    writeFileSync(record, JSON.stringify({ version: 1, exports: [{ path: 7 }, entry, null] }));
    expect(await readExports(record)).toEqual([entry]);
    expect(await readExports(record)).toEqual([entry]);
    expect(readdirSync(join(folder, 'data'))).toHaveLength(2);
  });

  test('one of a newer version is left alone', async () => {
    const { folder, record } = setUp();
    mkdirSync(join(folder, 'data'));
    writeFileSync(record, '{"version":2,"exports":[]}');
    expectRefusal(await rejectionOf(readExports(record)), 'UNSUPPORTED', record, /newer version/);
    const added = recordExport(record, await exported(folder, 'a.safetensors'));
    expect((await rejectionOf(added)).code).toBe('UNSUPPORTED');
    expect(readdirSync(join(folder, 'data'))).toEqual([RECORD_NAME]);
  });

  test('one that is a folder', async () => {
    const { record } = setUp();
    mkdirSync(record, { recursive: true });
    expectRefusal(await rejectionOf(readExports(record)), 'FILE_UNREADABLE', record, /folder/);
  });
});

describe('several writers', () => {
  test('of one process', async () => {
    const { folder, record } = setUp();
    const all = await Promise.all(Array.from({ length: 12 }, (_, i) => exported(folder, `${i}.safetensors`, i)));
    await Promise.all(all.map((one) => recordExport(record, one)));
    expect(new Set((await readExports(record)).map(({ path }) => path)).size).toBe(12);
  });

  test('of several processes', async () => {
    const { folder, record } = setUp();
    const all = await Promise.all(Array.from({ length: 8 }, (_, i) => exported(folder, `${i}.safetensors`, i)));
    const module = JSON.stringify(new URL('../../main/comfyui/record.ts', import.meta.url).href);
    const children = [all.slice(0, 4), all.slice(4)].map((part) => {
      const script = `import { recordExport } from ${module};
        for (const one of ${JSON.stringify(part)}) await recordExport(${JSON.stringify(record)}, one);`;
      return spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'ignore', 'inherit'] });
    });
    expect(await Promise.all(children.map(async (child) => (await once(child, 'exit')) as unknown[]))).toEqual([
      [0, null],
      [0, null],
    ]);
    expect(new Set((await readExports(record)).map(({ path }) => path)).size).toBe(8);
  });

  test('a lock that a dead process left is broken', async () => {
    const { folder, record } = setUp();
    mkdirSync(join(folder, 'data'));
    writeFileSync(`${record}.lock`, '');
    utimesSync(`${record}.lock`, 1, 1);
    await recordExport(record, await exported(folder, 'a.safetensors'));
    expect(readdirSync(join(folder, 'data'))).toEqual([RECORD_NAME]);
  });
});
