import { defineConfig } from 'vitest/config';

/** The tests of the packaged app: they build it, pack it, and run what is in the archive. */
export default defineConfig({
  test: {
    include: ['test/packaged/*.test.ts'],
    setupFiles: ['test/no-network.ts'],
    pool: 'forks',
    testTimeout: 240_000,
    hookTimeout: 240_000,
  },
});
