import fc from 'fast-check';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { CONTENT_SECURITY_POLICY, SECURITY_HEADERS } from '../../main/web/security-headers.ts';
import { Sessions } from '../../main/web/sessions.ts';
import { errorFromWire } from '../../main/contract/wire-errors.ts';
import { tempFolder } from '../unit/temp.ts';
import { ask, signIn, startServing, type Answer, type Serving } from './serving.ts';

let serving: Serving;
beforeAll(async () => {
  serving = await startServing(tempFolder(), { names: ['gpu.example', 'GPU2.Example'] });
});

function codeOf({ body }: Answer): string {
  return errorFromWire(Object.assign(new Error('answer'), { data: JSON.parse(body) as unknown })).code;
}

describe('files of the interface', () => {
  test('the page is never kept, what has its hash in the name is kept for good', async () => {
    const page = await ask(serving.port, '/');
    expect(page).toMatchObject({ status: 200, body: '<!doctype html><title>i2L</title>' });
    expect(page.headers).toMatchObject({ 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-cache' });
    const script = await ask(serving.port, '/assets/index-AbCd1234.js');
    expect(script.headers['cache-control']).toContain('immutable');
    expect((await ask(serving.port, '/assets/plain.css')).headers['cache-control']).toBe('no-cache');
  });

  test.each([
    '/notes.txt',
    '/assets',
    '/assets/',
    '/..%2fhome%2fsettings.json',
    '/../home/settings.json',
    '/%2e%2e/home/library.db',
    '//etc/passwd',
    '/assets/..%5c..%5chome',
    '/%00',
  ])('%s is not there', async (path) => expect((await ask(serving.port, path)).status).toBe(404));

  test('no path leads out of the folder, and none brings the server down', async () => {
    const piece = fc.constantFrom(
      '..',
      '%2e%2e',
      '/',
      '%2f',
      '\\',
      '%5c',
      'home',
      'settings.json',
      'index.html',
      '%',
      '%00',
      '.',
      'assets',
      '?',
      '#',
      'ü',
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 8 }), async (pieces) => {
        const path = encodeURI(`/${pieces.join('')}`).replaceAll('%25', '%');
        const { status, body } = await ask(serving.port, path);
        expect([200, 400, 404]).toContain(status);
        if (status === 200) expect(body).toContain('<title>i2L</title>');
      }),
      { numRuns: 200 },
    );
  });

  test('HEAD has the headers alone; other methods are refused', async () => {
    const head = await ask(serving.port, '/', { method: 'HEAD' });
    expect(head).toMatchObject({ status: 200, body: '' });
    const { origin } = serving;
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE']) {
      expect((await ask(serving.port, '/', { method, headers: { origin } })).status, method).toBeGreaterThanOrEqual(400);
    }
  });
});

describe('every answer', () => {
  test.each([
    ['/', 200],
    ['/nothing', 404],
    ['/media/loras/1/file', 401],
    ['/session', 401],
    ['/%E0%A4%A', 400],
  ])('%s has the security headers', async (path, status) => {
    const answer = await ask(serving.port, path);
    expect(answer.status).toBe(status);
    expect(answer.headers).toMatchObject(SECURITY_HEADERS);
  });

  test('the policy allows no script, style or frame but ours', () => {
    expect(CONTENT_SECURITY_POLICY).not.toMatch(/unsafe|\*|https?:|data:/);
    expect(CONTENT_SECURITY_POLICY).toContain("default-src 'none'");
    expect(CONTENT_SECURITY_POLICY).toContain("frame-ancestors 'none'");
  });
});

describe('the name by which it is called', () => {
  const status = async (host: string): Promise<number> => (await ask(serving.port, '/', { headers: { host } })).status;

  test.each([
    '127.0.0.1',
    '127.0.0.1:9',
    'localhost',
    'localhost:8225',
    '[::1]:80',
    '192.168.1.5:8225',
    'gpu.example:1',
    'gpu2.example',
    'LOCALHOST',
  ])('%s is its own', async (host) => expect(await status(host)).toBe(200));

  test.each([
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'evil.example:80',
    'user@localhost',
    'localhost/x',
    'a b',
    '127.0.0.1.example',
    'gpu.example.',
  ])('%s is not (DNS rebinding)', async (host) => expect([400, 421]).toContain(await status(host)));

  test('no name of another domain is its own', async () => {
    await fc.assert(
      fc.asyncProperty(fc.domain(), async (domain) => {
        expect(await status(domain)).toBe(421);
      }),
      { numRuns: 50 },
    );
  });
});

describe('signing in', () => {
  const post = (body: string, headers: Record<string, string> = { origin: serving.origin }): Promise<Answer> =>
    ask(serving.port, '/session', { method: 'POST', headers, body });

  test('a link signs in once, and the cookie counts from then on', async () => {
    const { token } = serving.sessions;
    const cookie = await signIn(serving);
    expect((await post(JSON.stringify({ token }))).status, 'a second time').toBe(401);
    expect((await ask(serving.port, '/session', { headers: { cookie } })).status).toBe(204);
    expect((await ask(serving.port, '/media/x', { headers: { cookie } })).status, 'past the gate').toBe(404);
    expect(serving.sessions.token).not.toBe(token);
  });

  test('scripts and other sites get nothing of the cookie', async () => {
    const { headers } = await post(JSON.stringify({ token: serving.sessions.token }));
    expect(headers['set-cookie']).toEqual([expect.stringMatching(/^i2l_\d+=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/)]);
    expect(headers['cache-control']).toBe('no-store');
  });

  test('a wrong token, and what is none', async () => {
    const wrong = await post(JSON.stringify({ token: 'x'.repeat(43) }));
    expect(wrong.status).toBe(401);
    expect(wrong.headers['set-cookie']).toBeUndefined();
    expect(codeOf(wrong)).toBe('BAD_ARGUMENT');
    for (const body of ['', '{', 'null', '[]', '{"token":1}', '{"token":""}', 'x'.repeat(10_000)]) {
      expect((await post(body)).status, body.slice(0, 20)).toBe(400);
    }
  });

  test.each([
    ['a page elsewhere', { origin: 'http://evil.example' }],
    ['a page of another port', { origin: 'http://127.0.0.1:1' }],
    ['a page without an origin', { origin: 'null' }],
    ['what is no page', {}],
  ])('%s may not sign in', async (_who, headers) => {
    const { token } = serving.sessions;
    expect((await post(JSON.stringify({ token }), headers as Record<string, string>)).status).toBe(403);
    expect(serving.sessions.token, 'and the token is still good').toBe(token);
  });

  test('a cookie is refused where another site asks, or one letter of it is wrong', async () => {
    const cookie = await signIn(serving);
    const status = async (headers: Record<string, string>): Promise<number> =>
      (await ask(serving.port, '/session', { headers })).status;
    expect(await status({ cookie, 'sec-fetch-site': 'same-origin' })).toBe(204);
    expect(await status({ cookie: `other=1; ${cookie}; i2l_1=x` })).toBe(204);
    expect(await status({ cookie, 'sec-fetch-site': 'cross-site' })).toBe(403);
    expect(await status({ cookie, 'sec-fetch-site': 'same-site' })).toBe(403);
    expect(await status({ cookie, origin: 'http://evil.example' })).toBe(403);
    expect(await status({ cookie: `${cookie.slice(0, -1)}${cookie.endsWith('A') ? 'B' : 'A'}` })).toBe(401);
    expect(await status({ cookie: cookie.replace('i2l_', 'i2l_1') })).toBe(401);
  });
});

describe('sessions', () => {
  const onNewToken = vi.fn();
  afterEach(() => onNewToken.mockClear());

  test('a used token is followed by a new one, which is told', () => {
    const sessions = new Sessions({ onNewToken });
    const first = sessions.token;
    const secret = sessions.exchange(first);
    expect(sessions.isOpen(secret)).toBe(true);
    expect(onNewToken).toHaveBeenCalledExactlyOnceWith(sessions.token);
    expect(sessions.exchange(first)).toBeUndefined();
    expect(sessions.isOpen(sessions.exchange(sessions.token))).toBe(true);
    expect(sessions.isOpen(secret), 'the first goes on').toBe(true);
  });

  test("the user's own token signs in again and again", () => {
    const sessions = new Sessions({ token: 'a token of sixteen', onNewToken });
    const secrets = [1, 2, 3].map(() => sessions.exchange('a token of sixteen'));
    expect(new Set(secrets).size).toBe(3);
    expect(secrets.every((secret) => sessions.isOpen(secret))).toBe(true);
    expect(onNewToken).not.toHaveBeenCalled();
  });

  test('nothing but the token opens, and nothing but the secret is open', () => {
    const sessions = new Sessions({ onNewToken });
    const { token } = sessions;
    fc.assert(
      fc.property(fc.string(), (guess) => {
        expect(sessions.exchange(guess)).toBeUndefined();
        expect(sessions.isOpen(guess)).toBe(false);
      }),
    );
    for (const near of [token.slice(1), `${token}x`, token.toUpperCase(), ` ${token}`])
      expect(sessions.exchange(near)).toBeUndefined();
    expect(sessions.isOpen(token)).toBe(false);
    expect(sessions.isOpen(undefined)).toBe(false);
  });
});
