import type { AppInfo, Settings, SettingsChange } from '../../../main/contract/app.ts';
import type { I2lError } from '../../../main/contract/errors.ts';
import { api, follow } from '../api/client.ts';
import { chooseLanguage, setLanguage } from '../i18n/i18n.svelte.ts';
import { Answer } from './answer.svelte.ts';
import { notices } from './notices.svelte.ts';

const lightSystem = window.matchMedia('(prefers-color-scheme: light)');

/** The user's settings, as every window sees them. */
class UserSettings {
  value = $state.raw<Settings | undefined>(undefined);
  failure = $state.raw<I2lError | undefined>(undefined);
  readonly info = new Answer<AppInfo>();

  start(): void {
    this.#show();
    lightSystem.addEventListener('change', () => this.#show());
    void follow(
      () => api.app.settings.watch(),
      (settings) => this.#apply(settings),
      (error) => (this.failure = error),
    );
  }

  change(change: SettingsChange): Promise<boolean> {
    return notices.attempt(async () => this.#apply(await api.app.settings.set(change)));
  }

  #apply(settings: Settings): void {
    this.value = settings;
    this.failure = undefined;
    this.#show();
    void this.info.ask(() => api.app.info());
  }

  /** Puts theme and language on the page. */
  #show(): void {
    const { theme, language } = this.value ?? { theme: 'system', language: 'system' };
    const system = lightSystem.matches ? 'light' : 'dark';
    document.documentElement.dataset['theme'] = theme === 'system' ? system : theme;
    setLanguage(chooseLanguage(language, navigator.languages));
  }
}

export const settings = new UserSettings();
