import { join } from 'node:path';
import { InvalidArgumentError } from 'commander';
import { describe, expect, test } from 'vitest';
import { parseExperts } from '../../main/cli/arguments.ts';
import { weighted } from '../../main/cli/image-weights.ts';
import { thrownBy } from './errors.ts';

const files = ['/a/one.jpg', '/a/two=3.png', '/b/one.jpg', '/b/three.jpg'];
const weightsOf = (...given: string[]): number[] => weighted(files, given).map(({ weight }) => weight);

describe('--weight', () => {
  test('by path, and by a name that only one image has; the last word counts', () => {
    expect(weightsOf()).toEqual([1, 1, 1, 1]);
    expect(weightsOf('/b/one.jpg=2', 'three.jpg=0.5', 'two=3.png=0', 'three.jpg=4')).toEqual([1, 0, 2, 4]);
    expect(weighted([join(process.cwd(), 'x.jpg')], ['./x.jpg=7'])[0]?.weight).toBe(7);
  });

  test.each([
    ['one.jpg=2', /both one\.jpg/],
    ['four.jpg=2', /none of the images is four\.jpg/],
    ['three.jpg', /expected IMAGE=WEIGHT/],
    ['three.jpg=', /expected IMAGE=WEIGHT/],
    ['three.jpg=-1', /from 0/],
    ['three.jpg=many', /expected IMAGE=WEIGHT/],
    ['three.jpg=Infinity', /expected IMAGE=WEIGHT/],
    ['three.jpg=1e308', /weight from 0 to 1000/],
    ['=2', /expected IMAGE=WEIGHT/],
  ])('%s is refused', (given, message) => {
    const error = thrownBy(() => weighted(files, [given]));
    expect(error).toMatchObject({ code: 'BAD_ARGUMENT', fields: { option: 'weight' } });
    expect(error.message).toMatch(message);
  });
});

describe('--experts', () => {
  test('names with and without a strength', () => {
    expect(parseExperts('style:0.8, coarse,fine:-0.5,bias')).toEqual([
      { name: 'style', strength: 0.8 },
      { name: 'coarse', strength: 1 },
      { name: 'fine', strength: -0.5 },
      { name: 'bias', strength: 1 },
    ]);
  });

  test.each(['style:', 'style:much', 'style:1:2', 'style,,bias', ''])('%j is refused', (text) => {
    expect(() => parseExperts(text)).toThrow(InvalidArgumentError);
  });
});
