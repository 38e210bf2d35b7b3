import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ChosenPaths, windowPath } from '../../main/handlers/paths.ts';

test.each(['/a/b', '/a/../b/', '//server/share/x'])('%s may be named', (path) => {
  expect(windowPath(path)).toBe(resolve(path));
});

test.each(['a', './a', '../a', '', '~', '//?/C:/x', '//./PhysicalDrive0', '\\\\?\\C:\\x'])('%j may not', (path) => {
  expect(() => windowPath(path)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
});

describe('chosen paths', () => {
  const chosen = new ChosenPaths();
  chosen.add(['/pictures/autumn', '/loras/a.safetensors']);

  test.each(['/pictures/autumn', '/pictures/autumn/', '/pictures/autumn/red/1.png', '/loras/a.safetensors'])(
    '%s may be named',
    (path) => {
      expect(chosen.allow(path)).toBe(resolve(path));
    },
  );

  test.each(['/pictures', '/', '/pictures/autumn2', '/pictures/autumn/../spring', '/loras/b.safetensors', '/etc/passwd'])(
    '%s may not',
    (path) => {
      const reason = { code: 'BAD_ARGUMENT', fields: { file: path, reason: 'path-not-chosen' } };
      expect(() => chosen.allow(path)).toThrow(expect.objectContaining(reason));
    },
  );

  test('a path has to be whole, whatever was chosen', () => {
    expect(() => chosen.allow('autumn')).toThrow(expect.objectContaining({ fields: { file: 'autumn', reason: 'path-not-whole' } }));
  });
});
