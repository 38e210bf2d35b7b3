import { createServer, type IncomingMessage } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { credentialsOf, isHubItself, makeSource, sourceFromEnvironment } from '../../main/weights/hub/sources.ts';
import { rejectionOf, thrownBy } from '../unit/errors.ts';
import { tempFolder } from '../unit/temp.ts';
import { BLOCK, fetchFile, randomBytes, sourceOf } from './downloads.ts';
import { HubServer } from './hub-server.ts';

const folder = tempFolder();
const bytes = randomBytes(5 * BLOCK, 3);
const TOKEN = 'hf_secretsecret';
let server: HubServer;
let run = 0;
let target: string;

beforeEach(async () => {
  server = await HubServer.start();
  server.add('org/name', 'model.safetensors', bytes);
  server.add('org/name', 'config.json', Buffer.from('{}'), false);
  target = join(folder, String(run++), 'model.safetensors');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await server.stop();
});

const asTold = ({ headers }: { headers: IncomingMessage['headers'] }): string => JSON.stringify(headers);

describe('a token', () => {
  test.each(['huggingface', 'modelscope'] as const)('goes to %s and never to where it redirects', async (hub) => {
    await fetchFile(server, 'org/name', 'model.safetensors', target, { source: sourceOf(server, hub, TOKEN) });
    expect(server.requestsTo('hub').length).toBeGreaterThan(1);
    for (const asked of server.requestsTo('hub')) expect(asTold(asked)).toContain(`Bearer ${TOKEN}`);
    expect(server.requestsTo('storage').length).toBeGreaterThan(1);
    for (const asked of server.requestsTo('storage')) expect(asTold(asked)).not.toContain(TOKEN);
  });

  test('stays with redirects within the hub', async () => {
    server.gated.set('org/name', TOKEN);
    await fetchFile(server, 'org/name', 'config.json', target, { source: sourceOf(server, 'huggingface', TOKEN) });
    expect(readFileSync(target, 'utf8')).toBe('{}');
  });

  test('is not sent where it is not given', async () => {
    await fetchFile(server, 'org/name', 'model.safetensors', target);
    for (const asked of server.asked) expect(asked.headers).not.toHaveProperty('authorization');
  });

  test('is in no error', async () => {
    for (const [status, code] of [
      [401, 'TOKEN_REFUSED'],
      [403, 'LICENCE_NOT_ACCEPTED'],
      [500, 'HUB_RESPONSE'],
    ] as const) {
      // prettier-ignore
      server.fault = ({ path, response }) => path.includes('/resolve/') && (response.writeHead(status).end(TOKEN), true);
      const error = await rejectionOf(
        fetchFile(server, 'org/name', 'model.safetensors', target, { source: sourceOf(server, 'huggingface', TOKEN) }),
      );
      expect(error.code).toBe(code);
      expect(JSON.stringify(error.toShape()) + String(error.stack)).not.toContain(TOKEN);
    }
  });

  test('is not said over a connection that others can read', () => {
    expect(credentialsOf(makeSource('huggingface', 'http://mirror.example', TOKEN))).toBeUndefined();
    expect(credentialsOf(makeSource('huggingface', 'https://mirror.example', TOKEN))?.origin).toBe('https://mirror.example');
    expect(credentialsOf(makeSource('huggingface', 'http://127.0.0.1:5', TOKEN))?.headers['authorization']).toBe(`Bearer ${TOKEN}`);
  });

  test('of two lines is refused, and not repeated', () => {
    const error = thrownBy(() => makeSource('huggingface', undefined, `${TOKEN}\nX-Other: 1`));
    expect(error.code).toBe('BAD_ARGUMENT');
    expect(error.message).not.toContain(TOKEN);
  });
});

test('a hub is known by its whole origin, however it is written', () => {
  for (const endpoint of [undefined, 'huggingface.co', 'https://HuggingFace.co/', 'https://huggingface.co:443']) {
    expect(isHubItself(makeSource('huggingface', endpoint)), endpoint).toBe(true);
  }
  expect(isHubItself(makeSource('modelscope'))).toBe(true);
  for (const endpoint of ['http://huggingface.co', 'huggingface.co.evil.test', 'huggingface.co:8443', 'www.modelscope.cn']) {
    expect(isHubItself(makeSource('huggingface', endpoint)), endpoint).toBe(false);
  }
});

describe('a gated repository', () => {
  test('shows where its terms are', async () => {
    server.gated.set('org/name', TOKEN);
    const error = await rejectionOf(fetchFile(server, 'org/name', 'model.safetensors', target));
    expect(error).toMatchObject({ code: 'LICENCE_NOT_ACCEPTED', fields: { url: `${server.hubUrl}/org/name`, repo: 'org/name' } });
    expect(error.message).toContain(`${server.hubUrl}/org/name`);
    await fetchFile(server, 'org/name', 'model.safetensors', target, { source: sourceOf(server, 'huggingface', TOKEN) });
    expect(readFileSync(target).equals(bytes)).toBe(true);
  });
});

describe('addresses', () => {
  test("come from the environment, as the hubs' own tools take them", () => {
    expect(sourceFromEnvironment('huggingface', {})).toEqual({
      hub: 'huggingface',
      endpoint: 'https://huggingface.co',
      token: undefined,
    });
    expect(sourceFromEnvironment('modelscope', {})).toMatchObject({ endpoint: 'https://www.modelscope.cn' });
    expect(sourceFromEnvironment('huggingface', { HF_ENDPOINT: 'https://hf-mirror.com/', HF_TOKEN: 'a' })).toEqual({
      hub: 'huggingface',
      endpoint: 'https://hf-mirror.com',
      token: 'a',
    });
    expect(sourceFromEnvironment('modelscope', { MODELSCOPE_DOMAIN: 'modelscope.ai', MODELSCOPE_API_TOKEN: 'b' })).toMatchObject({
      endpoint: 'https://modelscope.ai',
      token: 'b',
    });
  });

  test.each(['ftp://x', 'https://', 'https://me:secret@x', 'https://x/?a=1', 'not an address', 'file:///etc'])(
    '%s is none',
    (endpoint) => {
      const error = thrownBy(() => makeSource('huggingface', endpoint));
      expect(error.code).toBe('BAD_ARGUMENT');
      expect(error.message).not.toContain('secret');
    },
  );
});

test('a proxy of the environment is used, but for hosts that need none', async () => {
  const tunnels: string[] = [];
  const proxy = createServer();
  proxy.on('connect', (request, socket) => {
    tunnels.push(request.url ?? '');
    const [host = '', port = ''] = (request.url ?? '').split(':');
    const onward = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      onward.pipe(socket).pipe(onward);
    });
    onward.on('error', () => socket.destroy());
    socket.on('error', () => onward.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  vi.stubEnv('http_proxy', `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`);
  vi.stubEnv('no_proxy', '');
  await fetchFile(server, 'org/name', 'model.safetensors', target);
  expect(readFileSync(target).equals(bytes)).toBe(true);
  expect(new Set(tunnels)).toEqual(new Set([server.hubUrl, server.storageUrl].map((url) => new URL(url).host)));
  vi.stubEnv('no_proxy', '127.0.0.1');
  tunnels.length = 0;
  await fetchFile(server, 'org/name', 'config.json', join(folder, String(run), 'config.json'));
  expect(tunnels).toEqual([]);
  proxy.closeAllConnections();
  proxy.close();
});
