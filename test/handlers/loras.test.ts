import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRouterClient } from '@orpc/server';
import { expect, test } from 'vitest';
import { errorFromWire } from '../../main/contract/wire-errors.ts';
import { lorasRouter } from '../../main/handlers/loras.ts';
import { openPath } from '../../main/handlers/sets.ts';
import { makeLora } from '../library/make-loras.ts';
import { openLibrary } from '../library/open-library.ts';
import { tempFolder } from '../unit/temp.ts';

const base = tempFolder();

test('LoRAs over the contract: brought in, found, renamed, tagged, removed, restored', async () => {
  const library = await openLibrary(join(base, 'data'));
  const loras = createRouterClient(lorasRouter, { context: { library, allowPath: openPath } });
  const fox = makeLora(join(base, 'fox.safetensors'), 1).file;
  const twin = makeLora(join(base, 'twin.safetensors'), 1).file;
  const bad = join(base, 'bad.safetensors');
  writeFileSync(bad, 'no LoRA');
  const events = [];
  for await (const event of await loras.import({ files: [fox, twin, bad] })) events.push(event);
  expect(events.at(-1)).toMatchObject({
    ...{ type: 'done', added: [1], duplicates: [{ file: twin, id: 1 }] },
    failed: [{ file: bad, error: { code: 'SAFETENSORS_HEADER' } }],
  });
  const renamed = await loras.update({ id: 1, change: { name: 'Red fox', tags: ['animal'], notes: 'in snow' } });
  expect(renamed).toMatchObject({ name: 'Red fox', tags: ['animal'], notes: 'in snow' });
  expect(renamed.file).toBe(join(base, 'data', 'loras', 'Red fox.safetensors'));
  expect(await loras.get({ id: 1 })).toMatchObject({ state: 'present', madeFrom: null, spectrum: null });
  expect(await loras.list({ text: 'sno', tagsAll: ['Animal'] })).toMatchObject({ total: 1, loras: [{ id: 1 }] });
  expect(await loras.bulk({ ids: [1, 1, 9], change: { favourite: true } })).toEqual({ changed: [1] });
  expect(await loras.tags({})).toEqual({ tags: [{ tag: 'animal', count: 1 }] });
  expect(await loras.duplicates({})).toEqual({ groups: [] });
  expect((await loras.versions({ id: 1 })).loras).toHaveLength(1);
  expect(await loras.exports({ id: 1 })).toEqual({ exports: [] });
  expect(await loras.remove({ ids: [1] })).toEqual({ removed: [1], failed: [] });
  expect(existsSync(renamed.file)).toBe(false);
  expect(await loras.undo({ ids: [1] })).toEqual({ restored: [1], failed: [] });
  await loras.remove({ ids: [1] });
  expect(await loras.emptyTrash({})).toEqual({ removed: 1, failed: [] });
  const codes = await Promise.all(
    [loras.get({ id: 1 }), loras.exports({ id: 1 }), loras.list({ limit: 1000 }), loras.update({ id: 0, change: {} })].map(
      (asked) =>
        (asked as Promise<unknown>).then(
          () => 'no error',
          (error: unknown) => errorFromWire(error).code,
        ),
    ),
  );
  expect(codes).toEqual(['NOT_IN_LIBRARY', 'NOT_IN_LIBRARY', 'BAD_ARGUMENT', 'BAD_ARGUMENT']);
});
