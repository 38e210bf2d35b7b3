import { createORPCClient, type ClientContext, type ClientLink, type ClientOptions } from '@orpc/client';
import { RPCLink } from '@orpc/client/message-port';
import type { Page } from '@playwright/test';
import type { Api } from '../../main/contract/api.ts';

/**
 * The contract of the desktop app, asked through its window's own doorway (preload/index.ts) by a port beside
 * the page's. A page that is loaded anew has lost its ports: the next question gets another.
 */
export function windowApi(page: Page): Api {
  return createORPCClient(new WindowLink(page));
}

class WindowLink implements ClientLink<ClientContext> {
  readonly #page: Page;
  #port: Promise<PagePort> | undefined;

  constructor(page: Page) {
    this.#page = page;
    page.on('domcontentloaded', () => {
      const lost = this.#port;
      this.#port = undefined;
      void lost?.then((port) => port.close());
    });
  }

  async call(path: readonly string[], input: unknown, options: ClientOptions<ClientContext>): Promise<unknown> {
    this.#port ??= PagePort.open(this.#page);
    const port = await this.#port;
    return port.link.call(path, input, options);
  }
}

type OnMessage = (event?: { readonly data: string }) => void;
let ports = 0;

/** A MessagePort in a page, for Node. What is said over it is text. */
class PagePort {
  readonly link: RPCLink<ClientContext>;
  readonly #page: Page;
  readonly #name: string;
  readonly #listeners = new Map<string, OnMessage[]>();

  private constructor(page: Page, name: string) {
    this.#page = page;
    this.#name = name;
    this.link = new RPCLink({
      port: { on: (event, listener) => this.#on(event, listener), postMessage: (data: string) => this.#send(data) },
    });
  }

  static async open(page: Page): Promise<PagePort> {
    // The page asks for its own port first; the doorway can't tell whose answer is whose.
    await page.getByRole('heading', { level: 1 }).waitFor();
    const port = new PagePort(page, `portOfTest${++ports}`);
    await page.exposeFunction(`${port.#name}Says`, (data: string) => port.#tell('message', { data }));
    await page.evaluate(takePort, port.#name);
    return port;
  }

  close(): void {
    this.#tell('close');
  }

  #on(event: string, listener: OnMessage): void {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
  }

  #tell(event: string, message?: { readonly data: string }): void {
    for (const listener of this.#listeners.get(event) ?? []) listener(message);
  }

  #send(data: string): void {
    const post = ([name, text]: readonly [string, string]): void =>
      (window as unknown as Record<string, MessagePort>)[name]?.postMessage(text);
    // A page that is gone answers nothing more: whoever waits is told so.
    this.#page.evaluate(post, [this.#name, data] as const).catch(() => this.close());
  }
}

/** In the page: asks for a port as renderer/src/api/wire.ts does, and keeps it under a name. */
async function takePort(name: string): Promise<void> {
  const port = await new Promise<MessagePort>((resolve) => {
    window.addEventListener('message', function onMessage({ source, data, ports: [given] }: MessageEvent) {
      if (source !== window || data !== 'i2l:port' || !given) return;
      window.removeEventListener('message', onMessage);
      resolve(given);
    });
    window.postMessage('i2l:want-port', location.origin);
  });
  const says = (window as unknown as Record<string, (data: string) => void>)[`${name}Says`];
  port.onmessage = ({ data }: MessageEvent<string>) => says?.(data);
  Object.assign(window, { [name]: port });
}
