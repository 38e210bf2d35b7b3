import { defineConfig } from 'vitest/config';

/** The memory that engines take, against what they were allowed. Linux alone says what a process has had. */
export default defineConfig({
  test: {
    include: process.platform === 'linux' ? ['test/budget/**/*.test.ts'] : [],
    passWithNoTests: true,
    pool: 'forks',
    testTimeout: 600_000,
    hookTimeout: 60_000,
  },
});
