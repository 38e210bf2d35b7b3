/** The file's name, of a path of whatever system. */
export function nameOf({ source }: { readonly source: string }): string {
  return source.split(/[\\/]/).at(-1) ?? source;
}
