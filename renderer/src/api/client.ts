import { createORPCClient } from '@orpc/client';
import type { Api } from '../../../main/contract/api.ts';
import { errorFromWire } from '../../../main/contract/wire-errors.ts';
import { Connection } from './connection.svelte.ts';
import { bringsToken, openWire, takeToken } from './wire.ts';

export const connection = new Connection(openWire);

/** All that can be asked of the app. Every failure is an I2lError. */
export const api: Api = createORPCClient(connection);

// The server's link, opened in a tab that shows the app already, changes the fragment alone.
window.addEventListener('hashchange', () => {
  if (!bringsToken()) return;
  if (connection.state === 'open') takeToken();
  else connection.retry();
});

const PAUSE_AFTER_FAILURE = 1000;

/**
 * Follows a stream of the contract for as long as the page lives: when its wire is lost it subscribes again
 * on the next, and each stream begins with all there is.
 */
export async function follow<Event>(
  subscribe: () => Promise<AsyncIterable<Event>>,
  apply: (event: Event) => void,
  onFailure: (error: ReturnType<typeof errorFromWire>) => void,
): Promise<never> {
  for (;;) {
    try {
      for await (const event of await subscribe()) apply(event);
    } catch (thrown) {
      const error = errorFromWire(thrown);
      if (connection.state === 'open' && error.code !== 'CONNECTION_LOST') onFailure(error);
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_AFTER_FAILURE));
  }
}
