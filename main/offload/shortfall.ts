import { I2lError } from '../contract/errors.ts';

export interface ImageOf {
  readonly file: string;
  readonly width: number;
  readonly height: number;
}

/** A budget that is too small. */
export interface Shortfall {
  /** The stage that doesn't fit into it, or the image that can't be decoded within it. */
  readonly of: { readonly network: string; readonly stage: string } | ImageOf;
  /** Bytes that would do. */
  readonly smallest: number;
  readonly budget: number;
  readonly option: '--memory' | '--vram';
}

/** @param short at least one; of those of one option, the one that needs most is named */
export function memoryRefusal(short: readonly Shortfall[]): I2lError {
  const worst = [...short].sort((a, b) => b.smallest - a.smallest);
  const named = (['--memory', '--vram'] as const).flatMap((option) => worst.find((each) => each.option === option) ?? []);
  const enough = named.map(({ option, smallest }) => `${option} ${megabytes(smallest)}`);
  const [first, second] = named;
  const orSmaller = named.some(({ of }) => 'file' in of) ? ', or make the image smaller' : '';
  const { of, ...need } = first as Shortfall;
  return new I2lError('MEMORY_BUDGET', `${named.map(why).join('; ')}; allow at least ${enough.join(' and ')}${orSmaller}.`, {
    ...of,
    ...need,
    ...(second ? { smallestVram: second.smallest } : {}),
  });
}

function why({ of, smallest, budget, option }: Shortfall): string {
  const [needs, may] = [megabytes(smallest), `may take ${megabytes(budget)}`];
  if ('file' in of) return `${of.file}: to decode its ${of.width} x ${of.height} pixels, the engine needs ${needs} and ${may}`;
  return `${of.network} needs ${needs} for ${of.stage}${option === '--vram' ? ' on the device' : ''} and ${may}`;
}

/** Rounded up, so that a budget named in an error works when it is given. */
function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)}MiB`;
}
