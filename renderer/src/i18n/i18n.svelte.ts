import { en, type Dictionary } from './en/index.ts';
import { makeFormat, type Format, type Language } from './format.ts';
import { zh } from './zh/index.ts';

const DICTIONARIES: Readonly<Record<Language, Dictionary>> = { en, 'zh-CN': zh };

let language = $state<Language>('en');
const formats: Readonly<Record<Language, Format>> = { en: makeFormat('en'), 'zh-CN': makeFormat('zh-CN') };

/** The words of the language in force; reading it in a component keeps the component in that language. */
export function t(): Dictionary {
  return DICTIONARIES[language];
}

export function format(): Format {
  return formats[language];
}

/** @param choice of the settings; 'system' takes the first language of the browser that there is */
export function chooseLanguage(choice: Language | 'system', preferred: readonly string[]): Language {
  if (choice !== 'system') return choice;
  return preferred.map(languageOf).find((found) => found !== undefined) ?? 'en';
}

export function setLanguage(chosen: Language): void {
  language = chosen;
  document.documentElement.lang = chosen;
}

function languageOf(tag: string): Language | undefined {
  const [primary] = tag.toLowerCase().split('-');
  if (primary === 'zh') return 'zh-CN';
  return primary === 'en' ? 'en' : undefined;
}
