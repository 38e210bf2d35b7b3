import { ipcRenderer } from 'electron';

/** The doorway between the sandboxed page and the app: on the page's word, one port of the app's; no functions. */
const WANT = 'i2l:want-port';
const PORT = 'i2l:port';

window.addEventListener('message', ({ source, origin, data }) => {
  if (source === window && origin === location.origin && data === WANT) ipcRenderer.send(WANT);
});

ipcRenderer.on(PORT, ({ ports }) => window.postMessage(PORT, location.origin, [...ports]));
