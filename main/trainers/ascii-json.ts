/** JSON of ASCII alone: Python reads a file in the system's encoding, and Windows' is not UTF-8. */
export function asciiJson(value: unknown): string {
  const text = JSON.stringify(value, null, 2);
  return `${text.replace(/[\u007F-\uFFFF]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n`;
}
