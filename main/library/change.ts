/** A row with a change to some of its fields; what the change leaves undefined stays as it is. */
export function changed<Row extends object>(row: Row, change: { readonly [Field in keyof Row]?: Row[Field] | undefined }): Row {
  return { ...row, ...Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined)) };
}
