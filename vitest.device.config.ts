import { existsSync } from 'node:fs';
import { defineConfig } from 'vitest/config';

/** Debian's chromium package carries a software Vulkan driver, so WebGPU runs on any machine. */
const SOFTWARE_DRIVER = '/usr/lib/chromium/vk_swiftshader_icd.json';
const driver = process.env['VK_ICD_FILENAMES'] ?? (existsSync(SOFTWARE_DRIVER) ? SOFTWARE_DRIVER : '');

export default defineConfig({
  test: {
    include: ['test/device/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 300_000,
    hookTimeout: 120_000,
    env: driver === '' ? {} : { VK_ICD_FILENAMES: driver },
  },
});
