import { spawn, spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { installedElectron } from './electron-binary.ts';

/** `npm start`: builds the app and opens its window; where there is no Electron to be had, serves it for a browser. */
const root = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);
const FETCH_MS = 120_000;

run(['node_modules/electron-vite/bin/electron-vite.js', 'build', '--logLevel', 'warn']);
const electron = electronBinary();
if (electron === undefined) {
  console.error("Electron's program is not here and can't be fetched, so the app is served for a browser instead.");
  follow(process.execPath, ['build/i2l.mjs', 'serve', ...process.argv.slice(2)]);
} else {
  follow(electron, ['.', ...process.argv.slice(2)]);
}

function run(args: readonly string[]): void {
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

/** Fetched by the package's own script if it is not there; what that has to say of a failure is not the user's. */
function electronBinary(): string | undefined {
  if (installedElectron() === undefined) {
    spawnSync(process.execPath, [require.resolve('electron/install.js')], { cwd: root, stdio: 'ignore', timeout: FETCH_MS });
  }
  return installedElectron();
}

function follow(program: string, args: readonly string[]): void {
  const child = spawn(program, args, { cwd: root, stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  child.on('exit', (code) => (process.exitCode = code ?? 1));
}
