/** Nothing is special between single quotes but the single quote itself. */
export function bashQuoted(text: string): string {
  return /^[\w./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** PowerShell takes typographic single quotes for the plain one; doubled, each stands for itself. */
export function powershellQuoted(text: string): string {
  return `'${text.replace(/['\u2018\u2019\u201A\u201B]/g, '$&$&')}'`;
}
