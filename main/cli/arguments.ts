import { InvalidArgumentError } from 'commander';

const UNITS: Readonly<Record<string, number>> = {
  '': 1, B: 1, K: 2 ** 10, KB: 1e3, KIB: 2 ** 10, M: 2 ** 20, MB: 1e6, MIB: 2 ** 20, G: 2 ** 30, GB: 1e9, GIB: 2 ** 30,
}; // prettier-ignore

/** '2GiB', '1500MB', '1.5G' to bytes. @throws InvalidArgumentError, which commander reports */
export function parseBytes(text: string): number {
  const [, number = '', unit = ''] = /^\s*([\d.]+)\s*([a-z]*)\s*$/i.exec(text) ?? [];
  const bytes = Math.floor(Number(number) * (UNITS[unit.toUpperCase()] ?? Number.NaN));
  if (!Number.isSafeInteger(bytes) || bytes <= 0) throw new InvalidArgumentError('Expected a size such as 2GiB or 1500MB.');
  return bytes;
}

export function parseThreads(text: string): number {
  const threads = Number(text);
  if (!Number.isInteger(threads) || threads < 0 || threads > 256)
    throw new InvalidArgumentError('Expected a whole number from 0 to 256.');
  return threads;
}

export function parsePort(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new InvalidArgumentError('Expected a port from 1 to 65535.');
  return port;
}

export function parseCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1) throw new InvalidArgumentError('Expected a whole number from 1.');
  return count;
}

export function parseOffset(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 0) throw new InvalidArgumentError('Expected a whole number from 0.');
  return count;
}

export function parseNumber(text: string): number {
  const number = Number(text);
  if (text.trim() === '' || !Number.isFinite(number)) throw new InvalidArgumentError('Expected a number.');
  return number;
}

/** 'style:0.8,coarse' to names and strengths; without one it is 1. Which names there are, the job's schema knows. */
export function parseExperts(text: string): { name: string; strength: number }[] {
  return parseList(text).map((item) => {
    const [name = '', strength, ...more] = item.split(':');
    if (more.length > 0) throw new InvalidArgumentError('Expected NAME or NAME:STRENGTH, separated by commas.');
    return { name, strength: strength === undefined ? 1 : parseNumber(strength) };
  });
}

/** For an option that may be given several times. */
export function parseEach(text: string, previous: readonly string[] = []): string[] {
  return [...previous, text];
}

/** 'style' or 'style,coarse' to names. */
export function parseList(text: string): string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.some((name) => name === '')) throw new InvalidArgumentError('Expected names separated by commas.');
  return names;
}
