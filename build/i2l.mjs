#!/usr/bin/env node
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/**
 * The `i2l` command of a checkout: runs main/cli.ts on the Node that package.json pins, whatever Node
 * started this file.
 */
const suffix = process.platform === 'win32' ? 'node.exe' : 'node';
const node = fileURLToPath(new URL(`../node_modules/node/bin/${suffix}`, import.meta.url));
const cli = fileURLToPath(new URL('../main/cli.ts', import.meta.url));

// Compiled modules are kept beside the packages that most of them are: half of a short command's time.
const cache = fileURLToPath(new URL('../node_modules/.cache/compiled', import.meta.url));
// The little room for short-lived values spares 10 MB, and twice that in the engine.
const child = spawn(node, ['--max-semi-space-size=2', cli, ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: { NODE_COMPILE_CACHE: cache, ...process.env },
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
child.on('error', (error) => {
  console.error(`i2l: ${error.message}; run npm ci first.`);
  process.exitCode = 1;
});
child.on('exit', (code, signal) => {
  process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 1);
});
