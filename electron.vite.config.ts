import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'electron-vite';
import { basename, dirname, resolve } from 'node:path';
import type { Plugin } from 'vite';

/**
 * A thread or a process is started from a file of its own, named by new URL('./x.ts', import.meta.url). It is
 * built beside the others, and named so.
 */
function ownEntries(): Plugin {
  return {
    name: 'own-entries',
    enforce: 'pre',
    transform(code, id) {
      return code.replace(/new URL\('(\.[^']*)\.ts', import\.meta\.url\)/g, (_, path: string) => {
        const fileName = `${basename(path)}.js`;
        this.emitFile({ type: 'chunk', id: resolve(dirname(id), `${path}.ts`), fileName });
        return `new URL('./${fileName}', import.meta.url)`;
      });
    },
  };
}

export default defineConfig({
  main: {
    plugins: [ownEntries()],
    // All in one folder: './engine.js' is right from wherever it is named.
    build: { rolldownOptions: { input: { index: 'main/index.ts' }, output: { chunkFileNames: '[name]-[hash].js' } } },
  },
  preload: {
    // A sandboxed preload can't be an ES module.
    build: { rolldownOptions: { input: { index: 'preload/index.ts' }, output: { format: 'cjs', entryFileNames: '[name].cjs' } } },
  },
  renderer: {
    root: 'renderer',
    plugins: [svelte()],
    // The content security policy allows no data: addresses. The licences of what is built in go with it.
    build: {
      minify: true,
      assetsInlineLimit: 0,
      license: { fileName: 'licences.md' },
      rolldownOptions: { input: { index: 'renderer/index.html' } },
    },
  },
});
