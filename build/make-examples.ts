import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { mulberry32 } from '../main/weights/synthetic.ts';

/**
 * Draws the example images of resources/examples: three scenes in one paper-cut style. They are the
 * project's own work, under its licence. Run by hand: node build/make-examples.ts
 */
const SIDE = 768;
const folder = fileURLToPath(new URL('../resources/examples/', import.meta.url));

interface Palette {
  readonly sky: readonly [string, string];
  readonly light: string;
  readonly layers: readonly string[];
}

/** A ridge of paper: points from left to right, smoothed, down to the lower edge. */
function ridge(random: () => number, level: number, height: number, steps: number): string {
  const xs = Array.from({ length: steps + 1 }, (_, i) => (i * SIDE) / steps);
  const ys = xs.map(() => level - height * random());
  const curve = xs.slice(1).map((x, i) => {
    const middle = ((xs[i] ?? 0) + x) / 2;
    return `C ${middle} ${ys[i]} ${middle} ${ys[i + 1]} ${x} ${ys[i + 1]}`;
  });
  return `M 0 ${SIDE} L 0 ${ys[0]} ${curve.join(' ')} L ${SIDE} ${SIDE} Z`;
}

/** A row of houses: rectangles side by side, some with a gable. */
function houses(random: () => number, level: number, height: number): string {
  let x = 0;
  let path = `M 0 ${SIDE}`;
  while (x < SIDE) {
    const width = 36 + 60 * random();
    const top = level - height * random();
    path +=
      random() > 0.5
        ? ` L ${x} ${top} L ${x + width} ${top}`
        : ` L ${x} ${top} L ${x + width / 2} ${top - 28} L ${x + width} ${top}`;
    x += width;
  }
  return `${path} L ${SIDE} ${SIDE} Z`;
}

function scene({ sky, light, layers }: Palette, shapes: readonly string[], sun: readonly [number, number, number]): string {
  const [x, y, radius] = sun;
  const rings = [2.6, 1.9, 1.35].map((grow) => `<circle cx="${x}" cy="${y}" r="${radius * grow}" fill="${light}" opacity="0.14"/>`);
  const cuts = shapes.map((path, i) => `<path d="${path}" fill="${layers[i % layers.length]}" filter="url(#shadow)"/>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${SIDE}" height="${SIDE}">
    <defs>
      <linearGradient id="sky" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="${sky[0]}"/><stop offset="1" stop-color="${sky[1]}"/></linearGradient>
      <filter id="shadow" x="-10%" y="-10%" width="120%" height="120%"><feDropShadow dx="0" dy="-6" stdDeviation="9" flood-color="#1a1024" flood-opacity="0.38"/></filter>
    </defs>
    <rect width="100%" height="100%" fill="url(#sky)"/>
    ${rings.join('')}<circle cx="${x}" cy="${y}" r="${radius}" fill="${light}"/>
    ${cuts.join('')}
  </svg>`;
}

const palette: Palette = {
  sky: ['#2b2a5a', '#f2a48b'],
  light: '#ffe6b3',
  layers: ['#c9727f', '#a3557a', '#74406f', '#4a2d5c', '#2c1d44', '#1b1230'],
};

const levels = [360, 440, 520, 600, 670, 730];
const hills = mulberry32(11);
const waves = mulberry32(12);
const town = mulberry32(13);
const scenes: Readonly<Record<string, string>> = {
  'hills.jpg': scene(palette, levels.map((level, i) => ridge(hills, level, 130 - 14 * i, 4 + i)), [520, 240, 74]), // prettier-ignore
  'sea.jpg': scene({ ...palette, layers: ['#3f6f8f', '#346083', '#2a4f74', '#213f63', '#182f50', '#10203b'] }, levels.map((level) => ridge(waves, level + 40, 34, 10)), [250, 300, 90]), // prettier-ignore
  'town.jpg': scene(palette, levels.map((level, i) => houses(town, level + 20, 150 - 16 * i)), [400, 190, 60]), // prettier-ignore
};

mkdirSync(folder, { recursive: true });
for (const [name, svg] of Object.entries(scenes)) {
  await sharp(Buffer.from(svg))
    .jpeg({ quality: 88, chromaSubsampling: '4:4:4' })
    .toFile(folder + name);
}
