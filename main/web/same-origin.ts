import { isIP } from 'node:net';

export interface RequestHeaders {
  readonly host?: string | undefined;
  readonly origin?: string | undefined;
  readonly 'sec-fetch-site'?: string | string[] | undefined;
}

/**
 * Whether a request names this server by a name that can only be its own. A page elsewhere can make its own
 * domain's name lead here (DNS rebinding), so names are refused but for those that were allowed; an address
 * in numbers can't be made to lead anywhere else.
 */
export function isOwnHost({ host }: RequestHeaders, names: readonly string[]): boolean {
  const name = host === undefined ? undefined : hostnameOf(`http://${host}`);
  if (name === undefined) return false;
  return isIP(name.replace(/^\[|\]$/g, '')) !== 0 || names.includes(name);
}

/** Whether a page of this very server asks: name and port alike. A request that changes something has to say so. */
export function isSameOrigin({ host, origin }: RequestHeaders): boolean {
  if (host === undefined || origin === undefined) return false;
  return origin === `http://${host}` || origin === `https://${host}`;
}

/** Whether the browser says that a page elsewhere asks. Old browsers say nothing. */
export function isCrossSite(headers: RequestHeaders): boolean {
  const from = headers['sec-fetch-site'];
  return from !== undefined && from !== 'same-origin' && from !== 'none';
}

function hostnameOf(url: string): string | undefined {
  const parsed = URL.parse(url);
  // User, path and the like don't belong into a Host header.
  return parsed && `${parsed.protocol}//${parsed.host}/` === parsed.href ? parsed.hostname.toLowerCase() : undefined;
}
