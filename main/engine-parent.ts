import type { EngineEvent } from './contract/engine.ts';

/** The process that started this engine. */
export interface Parent {
  send(event: EngineEvent): void;
  /** The last word: the process ends once it is delivered, whatever else might keep it. */
  finish(event: EngineEvent): void;
}

export interface ParentListener {
  readonly onMessage: (message: unknown) => void;
  readonly onGone: () => void;
}

/** What Electron gives a utility process in place of a channel of Node's. */
export interface ParentPort {
  on(event: 'message', listener: (event: { readonly data: unknown }) => void): unknown;
  postMessage(message: unknown): void;
}

type Self = Pick<NodeJS.Process, 'on' | 'send' | 'connected' | 'exit'> & { readonly parentPort?: ParentPort | null };

/** How long an answer may take to be read before the process ends without that. */
const LAST_WORD_MS = 10_000;

/** @param self this process, as Node or Electron made it */
export function parentOf(self: Self, listener: ParentListener): Parent {
  return self.parentPort ? electronParent(self, self.parentPort, listener) : nodeParent(self, listener);
}

function nodeParent(self: Self, { onMessage, onGone }: ParentListener): Parent {
  self.on('message', onMessage);
  self.on('disconnect', onGone);
  return {
    // Where the parent is gone and we don't know it yet, the callback takes the error; 'disconnect' follows.
    send: (event) => void (self.connected && self.send?.(event, () => undefined)),
    finish: (event) => {
      if (!self.connected) self.exit();
      self.send?.(event, () => self.exit());
    },
  };
}

/** Nothing tells when a message was delivered, so the parent ends this process once it has the answer. Electron ends it with the app. */
function electronParent(self: Self, port: ParentPort, { onMessage }: ParentListener): Parent {
  port.on('message', ({ data }) => onMessage(data));
  return {
    send: (event) => port.postMessage(event),
    finish: (event) => {
      port.postMessage(event);
      setTimeout(() => self.exit(), LAST_WORD_MS);
    },
  };
}
