import { SCREENS, type Screen } from '../state/route.svelte.ts';

/** What a key means anywhere in the app; each screen and grid has its own besides. */
export type Shortcut = { readonly kind: 'screen'; readonly screen: Screen } | { readonly kind: 'help' };

export interface Key {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly altKey: boolean;
  /** Whether what is typed goes into a text field. */
  readonly typing: boolean;
}

export function shortcutFor({ key, ctrlKey, metaKey, altKey, typing }: Key): Shortcut | undefined {
  const command = (ctrlKey || metaKey) && !altKey;
  const screen = SCREENS[Number(key) - 1];
  if (command && screen) return { kind: 'screen', screen };
  if (typing || ctrlKey || metaKey || altKey) return undefined;
  return key === '?' ? { kind: 'help' } : undefined;
}

const TEXT_INPUTS = ['text', 'search', 'number', 'password', 'url', 'email'];

export function isTyping(target: EventTarget | null): boolean {
  if (target instanceof HTMLInputElement) return TEXT_INPUTS.includes(target.type);
  return target instanceof HTMLTextAreaElement || (target instanceof HTMLElement && target.isContentEditable);
}
