import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, type Locator, type Page } from '@playwright/test';

/** The Create screen, as the specs use it. */

const examples = fileURLToPath(new URL('../../resources/examples/', import.meta.url));
/** Photographs that come with the app. */
export const EXAMPLES = ['hills.jpg', 'sea.jpg', 'town.jpg'] as const;

export const examplePath = (name: string): string => join(examples, name);

export interface GivenFile {
  readonly name: string;
  readonly bytes: Buffer;
}

export const example = (name: string): GivenFile => ({ name, bytes: readFileSync(examplePath(name)) });

/** Goes to a screen, or a part of one: 'queue', 'library/3'. */
export async function open(page: Page, route: string): Promise<void> {
  await page.evaluate((hash) => void (location.hash = hash), `#/${route}`);
}

/** Those of the open set. */
export const images = (page: Page): Locator => page.getByRole('listbox', { name: 'Images' }).getByRole('option');

export const imageNames = (page: Page): Promise<(string | null)[]> =>
  images(page).evaluateAll((all) => all.map((one) => one.getAttribute('aria-label')));

/** @returns the id of the new set, which is open and empty */
export async function newSet(page: Page): Promise<number> {
  const before = page.url();
  await page.getByRole('button', { name: 'New set', exact: true }).click();
  await expect.poll(() => page.url()).not.toBe(before);
  await expect(page.getByText('Drop your images here')).toBeVisible();
  return Number(/\d+$/.exec(page.url())?.[0]);
}

/** A new set with these examples, chosen by the page's own button; and the name of the LoRA that is to be made of it. */
export async function fillSet(page: Page, name: string, files: readonly string[] = EXAMPLES): Promise<void> {
  await open(page, 'create');
  await newSet(page);
  await page.getByLabel('Add images').last().setInputFiles(files.map(examplePath));
  await expect(images(page)).toHaveCount(files.length);
  await page.getByLabel('Name of the LoRA').fill(name);
}

/** Fills a set, puts its LoRA in the queue and goes there. */
export async function createLora(page: Page, name: string, files: readonly string[] = EXAMPLES): Promise<void> {
  await fillSet(page, name, files);
  await page.getByRole('button', { name: 'Create LoRA' }).click();
  await expect(page.getByText(`In the queue: ${name}`)).toBeVisible();
  await open(page, 'queue');
}

export const jobNamed = (page: Page, title: string): Locator => page.getByRole('article').filter({ hasText: title });

/** Files in the page's memory, as what a file manager drags or a clipboard holds. */
export async function transferOf(page: Page, files: readonly GivenFile[]): Promise<Awaited<ReturnType<Page['evaluateHandle']>>> {
  return page.evaluateHandle(
    (given) => {
      const data = new DataTransfer();
      for (const { name, base64 } of given) {
        const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
        data.items.add(new File([bytes], name, { type: 'image/jpeg' }));
      }
      return data;
    },
    files.map(({ name, bytes }) => ({ name, base64: bytes.toString('base64') })),
  );
}

/** Drops files on the window, as a file manager does. */
export async function drop(page: Page, files: readonly GivenFile[]): Promise<void> {
  await page.locator('main').dispatchEvent('drop', { dataTransfer: await transferOf(page, files) });
}
