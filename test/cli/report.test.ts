import { describe, expect, test } from 'vitest';
import { parseBytes } from '../../main/cli/arguments.ts';
import { parseInput } from '../../main/cli/weighted-file.ts';
import { formatDuration, progressLine } from '../../main/cli/report.ts';
import { formatBytes } from '../../main/contract/format-bytes.ts';

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.0 kB'],
  [999_950, '1.0 MB'],
  [59_178_432, '59.2 MB'],
  [99_960_000, '100 MB'],
  [13_432_070_144, '13.4 GB'],
])('%i bytes are %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));

test.each([
  [0, '0:00'],
  [59.6, '1:00'],
  [3599, '59:59'],
  [3600, '1:00:00'],
])('%f seconds are %s', (seconds, text) => expect(formatDuration(seconds)).toBe(text));

test.each([
  ['2GiB', 2 ** 31],
  ['1.5G', 1.5 * 2 ** 30],
  ['1500MB', 1.5e9],
  ['4096', 4096],
])('%s is %i bytes', (text, bytes) => expect(parseBytes(text)).toBe(bytes));

test.each(['', 'lots', '-1GiB', '2 parsecs', '0'])('"%s" is no size', (text) =>
  expect(() => parseBytes(text)).toThrow('Expected a size'),
);

describe('the progress bar', () => {
  const progress = {
    type: 'progress' as const,
    step: 'dinov3',
    stage: 'dinov3 layer 3 mlp',
    stageIndex: 52,
    stageCount: 164,
    bytesDone: 5e9,
    bytesTotal: 20e9,
    bytesPerSecond: 812e6,
    images: 1,
    etaSeconds: 41,
    device: 'cpu',
    work: [],
  };

  test('says where the job stands', () => {
    expect(progressLine(progress)).toBe('[######------------------] dinov3  stage 52 of 164  812 MB/s  about 0:41 left');
  });

  test('fits a narrow terminal', () => {
    expect(progressLine(progress, 40)).toHaveLength(39);
  });
});

test.each([
  ['/a/b.safetensors', '/a/b.safetensors', 1],
  ['/a/b.safetensors:0.7', '/a/b.safetensors', 0.7],
  ['/a/b.safetensors:-2', '/a/b.safetensors', -2],
  ['/a/b.safetensors:1e-1', '/a/b.safetensors', 0.1],
  ['/a/b.safetensors:+.5', '/a/b.safetensors', 0.5],
  ['/a/b.safetensors:0.5.safetensors:2E1', '/a/b.safetensors:0.5.safetensors', 20],
])('%s is a merge input', (text, file, strength) => expect(parseInput(text)).toEqual({ file, strength }));

test.each(['x.bin:1', 'x.safetensors:', 'x.safetensors: ', 'x.safetensors:half', 'x.safetensors:1e999', 'x.safetensors:NaN'])(
  '%s is refused as a merge input',
  (text) => {
    expect(() => parseInput(text)).toThrow(text);
  },
);
