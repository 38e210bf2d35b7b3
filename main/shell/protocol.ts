import { protocol } from 'electron';

/** Where the window's page is from. */
export const SCHEME = 'i2l';
export const PAGE = `${SCHEME}://app/`;

/** Before the app is ready: pages of this scheme are as those of a site of its own, with a policy and nothing more. */
export function declareScheme(): void {
  protocol.registerSchemesAsPrivileged([
    { scheme: SCHEME, privileges: { standard: true, secure: true, supportFetchAPI: true, stream: true } },
  ]);
}

/** @param site answers for the files of the page, by id and never by path */
export function serveScheme(site: (request: Request) => Promise<Response>): void {
  protocol.handle(SCHEME, (request) =>
    isOurs(request.url) ? site(request) : Promise.resolve(new Response(null, { status: 404 })),
  );
}

/** Whether an address is of our own page. */
export function isOurs(url: string): boolean {
  const parsed = URL.parse(url);
  return parsed?.protocol === `${SCHEME}:` && parsed.host === 'app';
}
