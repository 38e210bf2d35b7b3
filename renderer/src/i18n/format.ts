/** Numbers, sizes, times and dates as the language writes them. Pure: a formatter is made of a language. */

export type Language = 'en' | 'zh-CN';

const SIZE_UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'] as const;
const MEMORY_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

export interface Format {
  number(value: number, fractionDigits?: number): string;
  /** 0 to 1 as e.g. '99.3 %'. Never rounded up to 100 %. */
  percent(share: number, fractionDigits?: number): string;
  /** Of files, by powers of 1000. */
  bytes(value: number): string;
  /** Of memory, by powers of 1024. */
  memory(value: number): string;
  rate(bytesPerSecond: number): string;
  /** E.g. '3 min 20 s'; two units at most. */
  duration(seconds: number): string;
  /** Day and time of day. */
  date(milliseconds: number): string;
  /** E.g. '5 minutes ago'. */
  ago(milliseconds: number, now: number): string;
}

export function makeFormat(language: Language): Format {
  const relative = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });
  const dates = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' });
  const bytes = (value: number): string => {
    const [scaled, unit] = scale(value, 1000, SIZE_UNITS);
    return new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'short', ...digits(scaled) }).format(scaled);
  };
  return {
    number: (value, fractionDigits = 0) => new Intl.NumberFormat(language, { maximumFractionDigits: fractionDigits }).format(value),
    percent: (share, fractionDigits = 1) => percent(language, share, fractionDigits),
    bytes,
    memory: (value) => {
      const [scaled, unit] = scale(value, 1024, MEMORY_UNITS);
      return `${new Intl.NumberFormat(language, digits(scaled)).format(scaled)} ${unit}`;
    },
    rate: (bytesPerSecond) => `${bytes(bytesPerSecond)}/s`,
    duration: (seconds) => duration(language, seconds),
    date: (milliseconds) => dates.format(milliseconds),
    ago: (milliseconds, now) => relative.format(...sinceThen(milliseconds, now)),
  };
}

function scale<Unit>(value: number, base: number, units: readonly Unit[]): [number, Unit] {
  let scaled = Math.max(0, value);
  let power = 0;
  // Just below a full unit the rounding would show 1000 of the smaller one.
  while (scaled >= base * 0.9995 && power < units.length - 1) {
    scaled /= base;
    power++;
  }
  return [scaled, units[power] as Unit];
}

/** Three figures at most. */
function digits(scaled: number): Intl.NumberFormatOptions {
  return { maximumFractionDigits: scaled >= 100 || Number.isInteger(scaled) ? 0 : scaled >= 10 ? 1 : 2 };
}

function percent(language: Language, share: number, fractionDigits: number): string {
  const steps = 10 ** (fractionDigits + 2);
  const honest = share < 1 ? Math.min(Math.round(share * steps), steps - 1) / steps : share;
  return new Intl.NumberFormat(language, { style: 'percent', maximumFractionDigits: fractionDigits }).format(honest);
}

const DURATIONS = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
] as const;

function duration(language: Language, seconds: number): string {
  const part = (value: number, unit: string, fraction = 0): string =>
    new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'short', maximumFractionDigits: fraction }).format(value);
  if (seconds < 9.95) return part(seconds, 'second', 1);
  const whole = Math.round(seconds);
  const first = DURATIONS.findIndex(([, size]) => whole >= size);
  const [unit, size] = DURATIONS[first] ?? DURATIONS[3];
  const next = DURATIONS[first + 1];
  const rest = next ? Math.floor((whole % size) / next[1]) : 0;
  const large = part(Math.floor(whole / size), unit);
  return next && rest > 0 ? `${large} ${part(rest, next[0])}` : large;
}

function sinceThen(then: number, now: number): [number, Intl.RelativeTimeFormatUnit] {
  const seconds = Math.round((then - now) / 1000);
  const [unit, size] = DURATIONS.find(([, length]) => Math.abs(seconds) >= length) ?? DURATIONS[3];
  return [Math.trunc(seconds / size), unit];
}
