import { describe, expect, test } from 'vitest';
import { decoderRope } from '../../main/networks/qwen25vl-decoder.ts';
import { PROMPT } from '../../main/networks/qwen25vl-prompt.ts';
import { visionRope, windowOrder } from '../../main/networks/qwen25vl-vision.ts';
import { qwen25vl, type Qwen25vlConfig } from '../../main/networks/qwen25vl.ts';

const published = qwen25vl.published['qwen2.5-vl-7b'] as Qwen25vlConfig;

describe('windows', () => {
  test('of the published sizes: 8 x 8 tokens, and 37 x 37 with what is left over', () => {
    const { order, windows, pictures } = windowOrder([{ grid: 8, first: 0 }, { grid: 37, first: 64 }], 4); // prettier-ignore
    expect(windows).toEqual([
      { count: 4, patches: 64 },
      { count: 81, patches: 64 },
      { count: 18, patches: 16 },
      { count: 1, patches: 4 },
    ]);
    expect(pictures).toEqual([{ count: 1, patches: 16 ** 2 }, { count: 1, patches: 74 ** 2 }]); // prettier-ignore
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 64 + 37 * 37 }, (_, i) => i));
    expect(order.slice(0, 6)).toEqual([0, 1, 2, 3, 8, 9]);
    expect(order.slice(64, 70)).toEqual([64, 65, 66, 67, 64 + 37, 64 + 38]);
    expect(order.at(-1)).toBe(64 + 37 * 37 - 1);
  });

  test('tokens of a window are near each other', () => {
    const [grid, side] = [11, 4];
    const { order, windows } = windowOrder([{ grid, first: 0 }], side);
    let at = 0;
    for (const { count, patches } of windows) {
      for (let window = 0; window < count; window++, at += patches / 4) {
        const places = order.slice(at, at + patches / 4).map((token) => `${Math.floor(token / grid / side)} ${Math.floor((token % grid) / side)}`); // prettier-ignore
        expect(new Set(places).size).toBe(1);
      }
    }
    expect(at).toBe(grid * grid);
  });
});

test('vision positions: the row turns the first pairs, the column the others', () => {
  const { cos, sin } = visionRope([{ grid: 2, first: 0 }], [3, 0, 1, 2], 8);
  // The first token lies at row 1, column 1: its last patch at row 3, column 3; then token 0's second at row 0, column 1.
  const angles = (patch: number): number[] => [...sin.slice(patch * 4, patch * 4 + 4)].map((s, i) => Math.atan2(s, cos[patch * 4 + i] ?? 0)); // prettier-ignore
  expect(angles(0)).toEqual([2, 2 / 100, 2, 2 / 100].map((angle) => expect.closeTo(angle, 5)));
  expect(angles(3)).toEqual([3, 3 / 100, 3, 3 / 100].map((angle) => expect.closeTo(angle, 5)));
  expect(angles(5)).toEqual([0, 0, 1, 1 / 100].map((angle) => expect.closeTo(angle, 5)));
});

test('decoder positions: words go on past the longer side of the picture', () => {
  const { cos, sin } = decoderRope([{ grid: 8, first: 0 }], PROMPT, published);
  const pairs = 64;
  expect(cos).toHaveLength((65 + 64 + 6) * pairs);
  /** Place of a token on an axis, by the slowest pair of the axis, which turns by less than a circle. */
  const place = (token: number, pair: number): number =>
    Math.atan2(sin[token * pairs + pair] ?? 0, cos[token * pairs + pair] ?? 0) * 1e6 ** (pair / pairs);
  const placesOf = (token: number): number[] => [15, 39, 63].map((pair) => Math.round(place(token, pair) * 10) / 10);
  expect(placesOf(39).slice(1)).toEqual([39, 39]);
  expect(placesOf(65 + 10).slice(1)).toEqual([65 + 1, 65 + 2]);
  expect(placesOf(65 + 63).slice(1)).toEqual([65 + 7, 65 + 7]);
  expect(placesOf(65 + 64).slice(1)).toEqual([65 + 8, 65 + 8]);
});
