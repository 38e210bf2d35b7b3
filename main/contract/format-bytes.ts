const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const;

/** A size by powers of 1000, as the app's English sentences and the command line have it: '59.2 MB'. The interface has its language's own. */
export function formatBytes(bytes: number): string {
  let value = Math.max(0, bytes);
  let power = 0;
  // Just below a full unit the rounding would show 1000 of the smaller one.
  while (value >= 999.5 && power < UNITS.length - 1) {
    value /= 1000;
    power++;
  }
  return `${value.toFixed(power === 0 || value >= 99.95 ? 0 : 1)} ${UNITS[power] as string}`;
}
