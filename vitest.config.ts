import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // What needs WebGPU, the app packaged or minutes has a configuration of its own.
    exclude: ['test/device/**', 'test/packaged/**', 'test/budget/**'],
    setupFiles: ['test/no-network.ts'],
    pool: 'forks',
    // Half as many again as cores: most tests wait, for processes of their own and for what they told to come late.
    maxWorkers: Math.ceil(1.5 * availableParallelism()),
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
