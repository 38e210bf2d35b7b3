/**
 * Puts a text into the system's clipboard. A page that comes from another machine without TLS, as with
 * `i2l serve --host`, is given no clipboard to write to; what is selected can be copied there all the same.
 */
export async function copyText(text: string): Promise<void> {
  const { clipboard } = navigator as { readonly clipboard?: Clipboard };
  if (clipboard) return clipboard.writeText(text);
  const selected = document.activeElement;
  const field = document.createElement('textarea');
  field.value = text;
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand('copy');
  field.remove();
  if (selected instanceof HTMLElement) selected.focus();
  if (!isCopied) throw new Error('The browser refused to copy.');
}
