import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // What needs WebGPU, and what needs the app packaged, have configurations of their own.
    exclude: ['test/device/**', 'test/packaged/**'],
    setupFiles: ['test/no-network.ts'],
    pool: 'forks',
    // Vitest leaves one core free; most tests wait for processes of their own.
    maxWorkers: availableParallelism(),
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
