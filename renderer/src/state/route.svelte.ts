/** Which screen is shown, and what of it: kept in the address's fragment, so that Back and reload work. */

export const SCREENS = ['create', 'library', 'queue', 'models', 'settings'] as const;
export type Screen = (typeof SCREENS)[number];

export interface Route {
  readonly screen: Screen;
  /** E.g. of the LoRA that is open: digits. */
  readonly id: string | undefined;
}

export function parseRoute(hash: string): Route {
  const [, screen = '', id] = /^#\/([a-z]+)(?:\/(\d+)$)?/.exec(hash) ?? [];
  const known = SCREENS.find((name) => name === screen);
  return known ? { screen: known, id } : { screen: 'create', id: undefined };
}

export function hashOf(screen: Screen, id?: number): string {
  return `#/${screen}${id === undefined ? '' : `/${id}`}`;
}

class Router {
  route = $state.raw<Route>(parseRoute(location.hash));

  constructor() {
    window.addEventListener('hashchange', () => (this.route = parseRoute(location.hash)));
  }

  go(screen: Screen, id?: number): void {
    location.hash = hashOf(screen, id);
  }
}

export const router = new Router();
