import { existsSync } from 'node:fs';

const PLACES = [
  process.env['I2L_CHROMIUM'],
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];

/** The system's browser: nothing is downloaded for a test. */
export const chromium = PLACES.find((place) => place !== undefined && existsSync(place));

export const isCi = Boolean(process.env['CI']);
