import { expect, test } from './fixture.ts';
import { windowApi } from './window-port.ts';

test('the contract is reached through a page’s doorway, again after a reload', async ({ page, served }) => {
  // In place of the preload script: a port whose other end is the server's socket.
  await page.addInitScript(() => {
    window.addEventListener('message', ({ source, data }) => {
      if (source !== window || data !== 'i2l:want-port') return;
      const { port1, port2 } = new MessageChannel();
      const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/rpc`);
      socket.onmessage = (message) => port1.postMessage(message.data);
      port1.onmessage = (message: MessageEvent<string>) => socket.send(message.data);
      socket.onopen = () => window.postMessage('i2l:port', location.origin, [port2]);
    });
  });
  await page.goto(served.link);
  const api = windowApi(page);
  expect(await api.app.info()).toMatchObject({ mode: 'server', dataFolder: served.home });
  await page.reload();
  const { id } = await api.sets.create({ name: 'By the window' });
  expect((await api.sets.get({ id })).name).toBe('By the window');
  const settings = await api.app.settings.watch();
  for await (const { language } of settings) {
    expect(language).toBe('en');
    break;
  }
});
