/** What keys mean in a grid of rows and columns; pure, so that every move can be tested. */

export type Move = 'left' | 'right' | 'up' | 'down' | 'home' | 'end' | 'page-up' | 'page-down';

const MOVES: Readonly<Record<string, Move>> = {
  ArrowLeft: 'left',
  ArrowRight: 'right',
  ArrowUp: 'up',
  ArrowDown: 'down',
  Home: 'home',
  End: 'end',
  PageUp: 'page-up',
  PageDown: 'page-down',
};

export function moveOf(key: string): Move | undefined {
  return MOVES[key];
}

export interface Grid {
  readonly total: number;
  readonly columns: number;
  /** Lines that are in sight. */
  readonly lines: number;
}

/** Where a move leads; where it would leave the grid it stays. */
export function moved(from: number, move: Move, { total, columns, lines }: Grid): number {
  const page = Math.max(1, lines - 1) * columns;
  const steps: Readonly<Record<Move, number>> = {
    ...{ left: -1, right: 1, up: -columns, down: columns, home: -from, end: total - 1 - from },
    ...{ 'page-up': -page, 'page-down': page },
  };
  const to = from + steps[move];
  if (move === 'up') return to < 0 ? from : to;
  // Below the last whole line there may be a shorter one.
  if (move === 'down') return to < total ? to : Math.floor(from / columns) < Math.floor((total - 1) / columns) ? total - 1 : from;
  return Math.max(0, Math.min(total - 1, to));
}
