import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // What needs WebGPU, and what needs the app packaged, have configurations of their own.
    exclude: ['test/device/**', 'test/packaged/**'],
    setupFiles: ['test/no-network.ts'],
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
