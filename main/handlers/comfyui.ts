import { implement } from '@orpc/server';
import { findInstalls, type ComfyInstall } from '../comfyui/locate.ts';
import { comfyuiContract, type ComfyInstallView } from '../contract/comfyui.ts';
import type { AppContext } from './app.ts';
import { answerErrors } from './base.ts';

const comfyui = implement(comfyuiContract).$context<Pick<AppContext, 'settings'>>().use(answerErrors);

export const comfyuiRouter = comfyui.router({
  installs: comfyui.installs.handler(({ context: { settings } }) =>
    findInstalls({ roots: settings.get().comfyuiFolders }).map(installView),
  ),
});

function installView({ kind, root, lorasFolders, notes }: ComfyInstall): ComfyInstallView {
  return { kind, root, lorasFolders: [...lorasFolders], notes: [...notes] };
}
