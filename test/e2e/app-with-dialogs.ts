import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openApp } from '../../main/app.ts';
import type { PickRequest } from '../../main/contract/app.ts';
import { ChosenPaths } from '../../main/handlers/paths.ts';
import { listen, serve } from '../../main/server.ts';
import { Assets } from '../../main/web/assets.ts';
import { Sessions } from '../../main/web/sessions.ts';
import { makeSite } from '../../main/web/site.ts';

/**
 * `node app-with-dialogs.ts HOME TOKEN`: the app with what its window has, in a browser. Paths are chosen in
 * dialogs and named in no other way; in place of the system's, HOME/choices.json says what each gives.
 */
const [home = '', token = ''] = process.argv.slice(2);

const chosen = new ChosenPaths();

function pick({ what }: PickRequest): Promise<string[]> {
  const choices = JSON.parse(readFileSync(join(home, 'choices.json'), 'utf8')) as Partial<Record<PickRequest['what'], string[]>>;
  const paths = choices[what] ?? [];
  chosen.add(paths);
  return Promise.resolve(paths);
}

const assets = new Assets(fileURLToPath(new URL('../../out/renderer', import.meta.url)));
const listener = await listen({ host: '127.0.0.1', port: 0, otherPorts: 0 });
const { services, close } = await openApp({ dataFolder: home, name: 'a test' });
const own = {
  allowPath: (path: string) => chosen.allow(path),
  pick,
};
const sessions = new Sessions({ token });
const end = serve(listener, {
  app: { services: { ...services, ...own }, close },
  site: makeSite({ assets, library: services.library }),
  sessions,
});
process.once('SIGTERM', () => void end().then(close));
const links = [`http://127.0.0.1:${listener.port}/#token=${sessions.token}`];
console.log(JSON.stringify({ type: 'serving', port: listener.port, links }));
