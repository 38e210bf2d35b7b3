/**
 * JSON.parse keeps the last of two equal keys, so a header that names a tensor (or its range) twice can
 * show one layout to a checker and another to a reader. Here such a header is refused.
 */

type Refuse = (why: string) => Error;

/**
 * Parses a safetensors header into its top-level entries.
 * @param refuse makes the error to throw, from a reason.
 */
export function parseHeaderJson(bytes: Buffer, refuse: Refuse): [string, unknown][] {
  const text = decodeUtf8(bytes, refuse);
  if (!text.startsWith('{')) throw refuse('its header does not start with {');
  const parsed = parseJson(text, refuse);
  const twice = findRepeatedKey(text);
  if (twice !== undefined) throw refuse(`its header names "${twice.slice(0, 80)}" twice`);
  return Object.entries(parsed as Record<string, unknown>);
}

function decodeUtf8(bytes: Buffer, refuse: Refuse): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw refuse('its header is not UTF-8');
  }
}

function parseJson(text: string, refuse: Refuse): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw refuse(`its header is not valid JSON (${error instanceof Error ? error.message.slice(0, 120) : 'unreadable'})`);
  }
}

/**
 * The first key that stands twice in one object of a text that is known to be valid JSON, so that only
 * strings and nesting need to be followed.
 */
function findRepeatedKey(text: string): string | undefined {
  /** One entry a level: the keys seen so far in an object, nothing in an array. */
  const levels: (Set<string> | undefined)[] = [];
  let keyNext = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === '"') {
      const end = stringEnd(text, at);
      const keys = levels.at(-1);
      if (keyNext && keys) {
        const key = keyOf(text.slice(at + 1, end));
        if (keys.has(key)) return key;
        keys.add(key);
        keyNext = false;
      }
      at = end;
    } else if (char === '{' || char === '[') {
      levels.push(char === '{' ? new Set() : undefined);
      keyNext = char === '{';
    } else if (char === '}' || char === ']') {
      levels.pop();
      keyNext = false;
    } else if (char === ',') {
      keyNext = levels.at(-1) !== undefined;
    }
  }
  return undefined;
}

/** A key as it stands between its quotes, without its escapes. */
function keyOf(raw: string): string {
  return raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw;
}

function stringEnd(text: string, start: number): number {
  for (let at = start + 1; ; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '"') return at;
  }
}
