/** Which screen is shown, and what of it: kept in the address's fragment, so that Back and reload work. */

export const SCREENS = ['create', 'library', 'queue', 'models', 'settings'] as const;
export type Screen = (typeof SCREENS)[number];

export interface Route {
  readonly screen: Screen;
  /** E.g. the LoRA that is open. */
  readonly id: string | undefined;
}

export function parseRoute(hash: string): Route {
  const [, screen = '', id] = /^#\/([a-z]+)(?:\/(.+))?$/.exec(hash) ?? [];
  const known = SCREENS.find((name) => name === screen);
  return known ? { screen: known, id: id === undefined ? undefined : decodeURIComponent(id) } : { screen: 'create', id: undefined };
}

export function hashOf(screen: Screen, id?: string | number): string {
  return `#/${screen}${id === undefined ? '' : `/${encodeURIComponent(id)}`}`;
}

class Router {
  route = $state.raw<Route>(parseRoute(location.hash));

  constructor() {
    window.addEventListener('hashchange', () => (this.route = parseRoute(location.hash)));
  }

  go(screen: Screen, id?: string | number): void {
    location.hash = hashOf(screen, id);
  }
}

export const router = new Router();
