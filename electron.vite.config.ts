import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'electron-vite';

export default defineConfig({
  main: {
    build: { rolldownOptions: { input: { index: 'main/index.ts' } } },
  },
  preload: {
    // A sandboxed preload can't be an ES module.
    build: { rolldownOptions: { input: { index: 'preload/index.ts' }, output: { format: 'cjs', entryFileNames: '[name].cjs' } } },
  },
  renderer: {
    root: 'renderer',
    plugins: [svelte()],
    // The content security policy allows no data: addresses.
    build: { minify: true, assetsInlineLimit: 0, rolldownOptions: { input: { index: 'renderer/index.html' } } },
  },
});
