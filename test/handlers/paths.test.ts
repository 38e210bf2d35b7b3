import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { windowPath } from '../../main/handlers/paths.ts';

test.each(['/a/b', '/a/../b/', '//server/share/x'])('%s may be named', (path) => {
  expect(windowPath(path)).toBe(resolve(path));
});

test.each(['a', './a', '../a', '', '~', '//?/C:/x', '//./PhysicalDrive0', '\\\\?\\C:\\x'])('%j may not', (path) => {
  expect(() => windowPath(path)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
});
