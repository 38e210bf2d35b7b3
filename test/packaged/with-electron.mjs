import { registerHooks } from 'node:module';

/** For node --import: `electron` is test/packaged/electron.ts. */
registerHooks({
  resolve: (specifier, context, next) =>
    specifier === 'electron' ? { url: new URL('electron.ts', import.meta.url).href, shortCircuit: true } : next(specifier, context),
});
