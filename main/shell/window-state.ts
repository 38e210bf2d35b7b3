import { screen, type BrowserWindow, type Rectangle } from 'electron';
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { fileError, systemCode } from '../contract/errors.ts';
import { publishOver, writePart } from '../weights/atomic-copy.ts';

/** Where the window was, in the screen's points; the bounds are those that it has when it isn't maximised. */
const stateSchema = z.object({
  x: z.int(),
  y: z.int(),
  width: z.int().positive(),
  height: z.int().positive(),
  maximized: z.boolean(),
});
type State = z.infer<typeof stateSchema>;

/** So much of a window's upper edge has to be on a screen that it can be taken hold of. */
const GRIP = { width: 120, height: 40 };

/** Keeps the window's place between starts. */
export class WindowState {
  readonly #file: string;
  readonly #state: State | undefined;
  #writing: Promise<void> = Promise.resolve();

  private constructor(file: string, state: State | undefined) {
    this.#file = file;
    this.#state = state;
  }

  /** A file that is not there or can't be understood is no place, and is written anew. @throws I2lError FILE_UNREADABLE */
  static async open(file: string): Promise<WindowState> {
    return new WindowState(file, await load(file));
  }

  get maximized(): boolean {
    return this.#state?.maximized ?? false;
  }

  /** As options of a window: none where nothing is known, a size alone where the screen it was on is gone. */
  bounds(): Partial<Rectangle> {
    if (this.#state === undefined) return {};
    const { x, y, width, height } = this.#state;
    return visible(
      { x, y, width, height },
      screen.getAllDisplays().map(({ workArea }) => workArea),
    );
  }

  /** Written when the window closes. */
  follow(window: BrowserWindow): void {
    window.on('close', () => {
      const state: State = { ...window.getNormalBounds(), maximized: window.isMaximized() };
      this.#writing = writePart(this.#file, `${JSON.stringify(state)}\n`).then(publishOver);
      // Whoever waits for written() is told; until then it is nobody's.
      this.#writing.catch(() => undefined);
    });
  }

  /** @throws I2lError FILE_NOT_FOUND, FILE_WRITE_FAILED, DISK_FULL */
  written(): Promise<void> {
    return this.#writing;
  }
}

async function load(file: string): Promise<State | undefined> {
  try {
    return stateSchema.safeParse(JSON.parse(await readFile(file, 'utf8'))).data;
  } catch (error) {
    if (error instanceof SyntaxError || systemCode(error) === 'ENOENT') return undefined;
    throw fileError(file, 'read', error);
  }
}

/**
 * The bounds if the window can be taken hold of on one of the screens; else its size alone, no larger than the
 * first screen, and Electron puts it into the middle.
 */
export function visible(bounds: Rectangle, areas: readonly Rectangle[]): Partial<Rectangle> {
  if (areas.some((area) => canBeHeld(bounds, area))) return bounds;
  const { width, height } = bounds;
  const [first = { width, height }] = areas;
  return { width: Math.min(width, first.width), height: Math.min(height, first.height) };
}

function canBeHeld({ x, y, width }: Rectangle, area: Rectangle): boolean {
  const shown = Math.min(x + width, area.x + area.width) - Math.max(x, area.x);
  return shown >= GRIP.width && y >= area.y && y + GRIP.height <= area.y + area.height;
}
