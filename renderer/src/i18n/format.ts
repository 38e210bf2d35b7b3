/** Numbers, sizes, times and dates as the language writes them. Pure: a formatter is made of a language. */

export type Language = 'en' | 'zh-CN';

const SIZE_UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'] as const;
const MEMORY_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

export interface Format {
  number(value: number, fractionDigits?: number): string;
  /** With just so many digits behind the point: in a column they stand below each other. */
  inColumn(value: number, fractionDigits: number): string;
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
  const numberWith = numbersOf(language);
  const bytes = (value: number): string => {
    const [scaled, unit] = scale(value, 1000, SIZE_UNITS);
    return numberWith(digits(scaled), unit).format(scaled);
  };
  return {
    number: (value, fractionDigits = 0) => numberWith(fractionDigits).format(value),
    inColumn: (value, fractionDigits) => numberWith(fractionDigits, undefined, fractionDigits).format(value),
    percent: (share, fractionDigits = 1) => numberWith(fractionDigits, 'percent').format(honest(share, fractionDigits)),
    bytes,
    memory: (value) => {
      const [scaled, unit] = scale(value, 1024, MEMORY_UNITS);
      return `${numberWith(digits(scaled)).format(scaled)} ${unit}`;
    },
    rate: (bytesPerSecond) => `${bytes(bytesPerSecond)}/s`,
    duration: (seconds) => duration(numberWith, seconds),
    date: (milliseconds) => dates.format(milliseconds),
    ago: (milliseconds, now) => relative.format(...sinceThen(milliseconds, now)),
  };
}

/** With so many digits behind the point at most, a unit, and so many digits at least. */
type NumberWith = (fractionDigits: number, unit?: string, least?: number) => Intl.NumberFormat;

/** Each formatter is made once: that takes a hundred times as long as to use it, and a page of the library uses hundreds. */
function numbersOf(language: Language): NumberWith {
  const made = new Map<string, Intl.NumberFormat>();
  return (maximumFractionDigits, unit, minimumFractionDigits = 0) => {
    const key = `${maximumFractionDigits} ${unit} ${minimumFractionDigits}`;
    const known = made.get(key);
    if (known) return known;
    const style: Intl.NumberFormatOptions =
      unit === undefined ? {} : unit === 'percent' ? { style: 'percent' } : { style: 'unit', unit, unitDisplay: 'short' };
    const format = new Intl.NumberFormat(language, { ...style, minimumFractionDigits, maximumFractionDigits });
    made.set(key, format);
    return format;
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

/** Behind the point, so that there are three figures at most. */
function digits(scaled: number): number {
  return scaled >= 100 || Number.isInteger(scaled) ? 0 : scaled >= 10 ? 1 : 2;
}

/** The share as it may be shown: all of it only where it is. */
function honest(share: number, fractionDigits: number): number {
  const steps = 10 ** (fractionDigits + 2);
  return share < 1 ? Math.min(Math.round(share * steps), steps - 1) / steps : share;
}

const DURATIONS = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
] as const;

function duration(numberWith: NumberWith, seconds: number): string {
  const part = (value: number, unit: string, fraction = 0): string => numberWith(fraction, unit).format(value);
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
