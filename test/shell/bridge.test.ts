import { beforeEach, expect, test, vi } from 'vitest';

const { on, made, handle, privileged } = vi.hoisted(() => ({ on: vi.fn(), made: vi.fn(), handle: vi.fn(), privileged: vi.fn() }));

vi.mock('electron', () => ({
  ipcMain: { on },
  MessageChannelMain: class {
    port1 = { start: vi.fn(), name: 'app' };
    port2 = { name: 'page' };
    constructor() {
      made();
    }
  },
  protocol: { handle, registerSchemesAsPrivileged: privileged },
}));

const { openBridge } = await import('../../main/shell/bridge.ts');
const { declareScheme, isOurs, serveScheme } = await import('../../main/shell/protocol.ts');

beforeEach(() => vi.clearAllMocks());

function ask(
  url: string,
  where: 'main' | 'inner' | 'gone',
): { readonly connect: ReturnType<typeof vi.fn>; readonly sent: ReturnType<typeof vi.fn> } {
  const connect = vi.fn();
  openBridge(connect);
  const [channel, listener] = on.mock.calls[0] as [string, (event: object) => void];
  expect(channel).toBe('i2l:want-port');
  const mainFrame = { url };
  const sent = vi.fn();
  const senderFrame = { main: mainFrame, inner: { url }, gone: null }[where];
  listener({ sender: { mainFrame, postMessage: sent }, senderFrame });
  return { connect, sent };
}

test('our page gets one end of a channel, the app the other', () => {
  const { connect, sent } = ask('i2l://app/', 'main');
  expect(connect).toHaveBeenCalledExactlyOnceWith(
    expect.objectContaining({ name: 'app' }),
    expect.objectContaining({ postMessage: sent }),
  );
  expect(sent).toHaveBeenCalledExactlyOnceWith('i2l:port', null, [{ name: 'page' }]);
});

test.each([
  ['https://example.org/', 'main'],
  ['i2l://other/', 'main'],
  ['i2l://app.example.org/', 'main'],
  ['file:///index.html', 'main'],
  ['i2l://app/', 'inner'],
  ['i2l://app/', 'gone'],
] as const)('%s in the %s frame gets none', (url, where) => {
  const { connect, sent } = ask(url, where);
  expect(made).not.toHaveBeenCalled();
  expect(connect).not.toHaveBeenCalled();
  expect(sent).not.toHaveBeenCalled();
});

test('the scheme is a secure site of its own, and passes no policy by', () => {
  declareScheme();
  const [[[{ scheme, privileges }]]] = privileged.mock.calls as [[[{ scheme: string; privileges: object }]]];
  expect(scheme).toBe('i2l');
  expect(privileges).toEqual({ standard: true, secure: true, supportFetchAPI: true, stream: true });
});

test('only i2l://app is answered', async () => {
  const site = vi.fn(() => Promise.resolve(new Response('ours')));
  serveScheme(site);
  const [, answer] = handle.mock.calls[0] as [string, (request: { url: string }) => Promise<Response>];
  expect(await (await answer({ url: 'i2l://app/index.html' })).text()).toBe('ours');
  expect((await answer({ url: 'i2l://other/index.html' })).status).toBe(404);
  expect(site).toHaveBeenCalledOnce();
  expect(isOurs('not an address')).toBe(false);
});
