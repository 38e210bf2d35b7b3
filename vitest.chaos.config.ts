import { defineConfig } from 'vitest/config';

/** The tests that kill processes at random moments, many more times than npm test does. */
export default defineConfig({
  test: {
    include: ['test/chaos/*-kill.test.ts'],
    pool: 'forks',
    // One after another: the moments are spread over how long an undisturbed run takes.
    fileParallelism: false,
    testTimeout: 600_000,
    hookTimeout: 120_000,
    env: { I2L_KILLS: process.env['I2L_KILLS'] ?? '100' },
  },
});
