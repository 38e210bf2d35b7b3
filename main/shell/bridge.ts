import { ipcMain, MessageChannelMain, type IpcMainEvent, type MessagePortMain, type WebContents } from 'electron';
import { isOurs } from './protocol.ts';

/**
 * The one way between page and app: our own page, in its window's main frame, asks for a port and gets one.
 * @param connect takes the app's end, and whose the other is
 */
export function openBridge(connect: (port: MessagePortMain, page: WebContents) => void): void {
  ipcMain.on('i2l:want-port', (event) => {
    if (!isOurPage(event)) return;
    const { port1, port2 } = new MessageChannelMain();
    connect(port1, event.sender);
    port1.start();
    event.sender.postMessage('i2l:port', null, [port2]);
  });
}

function isOurPage({ sender, senderFrame }: IpcMainEvent): boolean {
  return senderFrame !== null && senderFrame === sender.mainFrame && isOurs(senderFrame.url);
}
