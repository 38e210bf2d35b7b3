import { expect, test } from 'vitest';
import { isPrivate } from '../../main/web/site.ts';
import { thrownBy } from '../unit/errors.ts';

const at = (path: string): boolean => isPrivate(new Request(`http://localhost${path}`));

test.each([
  '/media/loras/1/preview',
  '/%6dedia/loras/1/preview',
  '/x/../media/a',
  '/media%2Fa',
  '/uploads/sets/1',
  '/uplo%61ds/sets/1',
])('%s is the user’s alone, however it is written', (path) => expect(at(path)).toBe(true));

test.each(['/', '/index.html', '/assets/index-abc.js', '/media', '/uploads', '/x/media/a'])('%s is the interface', (path) =>
  expect(at(path)).toBe(false),
);

test('an address that is not well formed is refused', () => {
  expect(thrownBy(() => at('/%E0%A4%A')).code).toBe('BAD_ARGUMENT');
});
