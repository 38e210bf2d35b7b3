import { contextBridge } from 'electron';

/** The doorway between the sandboxed page and the app: facts to show, and no functions. */
contextBridge.exposeInMainWorld('i2l', { platform: process.platform, electron: process.versions.electron });
