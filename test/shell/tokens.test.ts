import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test, vi } from 'vitest';
import { rejectionOf } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';

const { keychain } = vi.hoisted(() => ({ keychain: { available: true, backend: 'gnome_libsecret', key: 7 } }));
vi.mock('electron', () => ({
  safeStorage: {
    isEncryptionAvailable: () => keychain.available,
    getSelectedStorageBackend: () => keychain.backend,
    encryptString: (text: string) => Buffer.from([keychain.key, ...Buffer.from(text).map((byte) => byte ^ keychain.key)]),
    decryptString: (bytes: Buffer) => {
      if (bytes[0] !== keychain.key) throw new Error('the key is another');
      return Buffer.from(bytes.subarray(1).map((byte) => byte ^ keychain.key)).toString();
    },
  },
}));
const { KeptTokens } = await import('../../main/shell/tokens.ts');

const file = join(tempFolder(), 'tokens.json');
beforeEach(() => {
  Object.assign(keychain, { available: true, backend: 'gnome_libsecret', key: 7 });
  writeFileSync(file, '{}');
});

test('a token is kept unreadable, comes back at the next start, and is forgotten when asked', async () => {
  const tokens = new KeptTokens(file);
  await tokens.keep('huggingface', 'hf_secret');
  await tokens.keep('modelscope', 'ms_secret');
  expect(readFileSync(file, 'utf8')).not.toMatch(/secret/);
  const again = new KeptTokens(file);
  expect([await again.get('huggingface'), await again.get('modelscope')]).toEqual(['hf_secret', 'ms_secret']);
  await again.keep('huggingface', null);
  expect([await again.get('huggingface'), await again.get('modelscope')]).toEqual([undefined, 'ms_secret']);
});

const LACKING: readonly (readonly [string, Partial<typeof keychain>])[] = [
  ['without a keychain', { available: false }],
  ...(process.platform === 'linux' ? [['on Linux without a keyring', { backend: 'basic_text' }] as const] : []),
];
test.each(LACKING)('%s nothing is kept, and it is said what to do', async (_, state) => {
  const tokens = new KeptTokens(file);
  await tokens.keep('huggingface', 'hf_secret');
  Object.assign(keychain, state);
  expect(tokens.canKeep).toBe(false);
  expect(await tokens.get('huggingface')).toBeUndefined();
  expect(await rejectionOf(tokens.keep('huggingface', 'x'))).toMatchObject({
    code: 'BAD_ARGUMENT',
    message: expect.stringMatching(/HF_TOKEN/),
  });
});

test('one that the system no longer opens is none, and so is a file that holds something else', async () => {
  const tokens = new KeptTokens(file);
  await tokens.keep('huggingface', 'hf_secret');
  keychain.key = 9;
  expect(await tokens.get('huggingface')).toBeUndefined();
  for (const text of ['', '[]', '{"huggingface":1}', '{"huggingface":"$"}']) {
    writeFileSync(file, text);
    expect(await tokens.get('huggingface'), text).toBeUndefined();
  }
  await tokens.keep('huggingface', 'hf_new');
  expect(await tokens.get('huggingface')).toBe('hf_new');
});
