import { gzipSync } from 'node:zlib';
import type { ErrorCode } from '../../main/contract/errors.ts';
import { sendFile, type Exchange, type Fault, type HubServer } from './hub-server.ts';
import { randomBytes, type Extra } from './downloads.ts';

export interface FaultCase {
  readonly what: string;
  /** Makes the fault; called once for each run of the case. */
  readonly fault: (server: HubServer) => Fault;
  /** undefined: the file comes whole all the same. */
  readonly fails?: ErrorCode;
  /** Keeps what had come, for later. */
  readonly keeps?: boolean;
  readonly extra?: Extra;
}

/** The first `times` requests to the storage, or to the hub for bytes. */
const storage = (times: number, act: (exchange: Exchange) => void): Fault => {
  let left = times;
  return (exchange) => {
    if (exchange.server !== 'storage' || left-- <= 0) return false;
    act(exchange);
    return true;
  };
};

const always = Infinity;
const isListing = ({ server, path }: Exchange): boolean => server === 'hub' && path.includes('/revision/');

const status =
  (code: number, headers: Record<string, string> = {}) =>
  ({ response }: Exchange): void =>
    void response.writeHead(code, headers).end('no');

/** Sends an answer's head and a part of its body, then does something to the connection. */
const partly =
  (bytes: number, then: (exchange: Exchange) => void) =>
  (exchange: Exchange): void => {
    const { response, file, range } = exchange;
    if (!file || !range) return void response.destroy();
    response.writeHead(206, {
      'content-length': range.end - range.start,
      'content-range': `bytes ${range.start}-${range.end - 1}/${file.content.size}`,
    });
    response.write(file.content.read(range.start, Math.min(range.end, range.start + bytes)), () => then(exchange));
  };

/** A right answer but for some headers. */
const withHeaders =
  (change: (exchange: Exchange & { range: { start: number; end: number } }) => Record<string, string | number>, code = 206) =>
  (exchange: Exchange): void => {
    const { response, file, range } = exchange;
    if (!file || !range) return void response.destroy();
    const headers = {
      'content-length': range.end - range.start,
      'content-range': `bytes ${range.start}-${range.end - 1}/${file.content.size}`,
      ...change({ ...exchange, range }),
    };
    response.writeHead(code, headers).end(file.content.read(range.start, range.end));
  };

const corrupted = (exchange: Exchange): void => {
  const { response, file, range } = exchange;
  if (!file || !range) return void response.destroy();
  const bytes = Buffer.from(file.content.read(range.start, range.end));
  bytes.writeUInt8(bytes.readUInt8(0) ^ 1, 0);
  response.writeHead(206, {
    'content-length': bytes.length,
    'content-range': `bytes ${range.start}-${range.end - 1}/${file.content.size}`,
  });
  response.end(bytes);
};

const noRanges = ({ server, response, file }: Exchange): boolean => {
  if (server !== 'storage' || !file) return false;
  sendFile(response, file, undefined, `"${file.content.sha256}"`);
  return true;
};

/** After some requests the hub has another file of the same name. */
const replaced =
  (after: number, honest: boolean): FaultCase['fault'] =>
  (server) => {
    let seen = 0;
    return ({ server: which }) => {
      if (which !== 'storage' || ++seen !== after) return false;
      for (const file of server.files.values()) {
        if (!file.lfs) continue;
        const other = randomBytes(file.content.size, 99);
        const said = server.add(file.repo, file.path, other).said;
        if (!honest) server.files.get(`${file.repo}/${file.path}`)!.said = { ...file.said };
        else file.said = said;
      }
      return false;
    };
  };

export const FAULTS: readonly FaultCase[] = [
  { what: 'drops every other connection before an answer', fault: () => { let n = 0; return storage(always, (e) => (n++ % 2 ? e.response.destroy() : sendFile(e.response, e.file!, e.range, '"x"'))); } },
  { what: 'drops six connections in the middle of a block', fault: () => storage(6, partly(70_000, ({ response }) => response.destroy())) },
  { what: 'drops every connection', fault: () => storage(always, ({ response }) => response.destroy()), fails: 'HUB_UNREACHABLE' },
  { what: 'drops every connection after a block or two', fault: () => storage(always, partly(140_000, ({ response }) => response.destroy())) },
  { what: 'drops every connection within the first block', fault: () => storage(always, partly(9000, ({ response }) => response.destroy())), fails: 'HUB_UNREACHABLE' },
  { what: 'stalls before an answer, twice', fault: () => storage(2, () => undefined) },
  { what: 'stalls before every answer', fault: () => storage(always, () => undefined), fails: 'HUB_UNREACHABLE' },
  { what: 'stalls in the middle of an answer, three times', fault: () => storage(3, partly(30_000, () => undefined)) },
  { what: 'stalls in every answer', fault: () => storage(always, partly(30_000, () => undefined)), fails: 'HUB_UNREACHABLE' },
  { what: 'brings a byte now and then, for ever', fault: () => storage(always, partly(10, (e) => { const drip = setInterval(() => e.response.write('x'), 20); e.response.on('close', () => clearInterval(drip)); })), fails: 'HUB_UNREACHABLE' },
  { what: 'is slow, and gets there', fault: () => storage(always, (e) => void setTimeout(() => sendFile(e.response, e.file!, e.range, '"x"'), 60)) },
  { what: '429 with Retry-After in seconds', fault: () => storage(2, status(429, { 'retry-after': '1' })) },
  { what: '429 with Retry-After as a date', fault: () => storage(2, (e) => status(429, { 'retry-after': new Date(Date.now() + 1500).toUTCString() })(e)) },
  { what: '429 without a word', fault: () => storage(3, status(429)) },
  { what: '429 that asks for an hour', fault: () => storage(always, status(429, { 'retry-after': '3600' })), fails: 'RATE_LIMITED' },
  { what: '429 from the hub itself', fault: () => (e) => isListing(e) && (status(429, { 'retry-after': '3600' })(e), true), fails: 'RATE_LIMITED' },
  { what: '503 with Retry-After', fault: () => storage(2, status(503, { 'retry-after': '0' })) },
  { what: '500, three times', fault: () => storage(3, status(500)) },
  { what: '500, always', fault: () => storage(always, status(500)), fails: 'HUB_RESPONSE' },
  { what: '500 from some byte on', fault: () => storage(always, (e) => (e.range!.end > 800_000 ? status(500)(e) : sendFile(e.response, e.file!, e.range, '"x"'))), fails: 'HUB_RESPONSE', keeps: true },
  { what: '502 in half of all answers', fault: () => { let n = 0; return storage(always, (e) => (n++ % 2 ? status(502)(e) : sendFile(e.response, e.file!, e.range, '"x"'))); } },
  { what: 'takes one connection only', fault: () => { let open = 0; return storage(always, (e) => { if (open > 0) return status(503)(e); open++; e.response.on('close', () => open--); sendFile(e.response, e.file!, e.range, '"x"'); }); } },
  { what: 'the wrong range, once', fault: () => storage(1, withHeaders(({ range, file }) => ({ 'content-range': `bytes ${range.start + 1}-${range.end}/${file!.content.size}` }))) },
  { what: 'the wrong range, always', fault: () => storage(always, withHeaders(({ range, file }) => ({ 'content-range': `bytes ${range.start + 1}-${range.end}/${file!.content.size}` }))), fails: 'HUB_RESPONSE' },
  { what: '206 without a range', fault: () => storage(always, withHeaders(() => ({ 'content-range': '' }))), fails: 'HUB_RESPONSE' },
  { what: 'a range of a file of another size', fault: () => storage(always, withHeaders(({ range }) => ({ 'content-range': `bytes ${range.start}-${range.end - 1}/77` }))), fails: 'HUB_RESPONSE' },
  { what: 'less than was asked for in each answer', fault: () => storage(always, (e) => sendFile(e.response, e.file!, { start: e.range!.start, end: Math.min(e.range!.end, e.range!.start + 100_000) }, '"x"')) },
  { what: 'a kilobyte in each answer', fault: () => storage(always, (e) => sendFile(e.response, e.file!, { start: e.range!.start, end: e.range!.start + 1024 }, '"x"')), fails: 'HUB_RESPONSE' },
  { what: '416', fault: () => storage(always, status(416)), fails: 'HUB_RESPONSE' },
  { what: 'a wrong content-length', fault: () => storage(always, withHeaders(({ range }) => ({ 'content-length': range.end - range.start + 5 }))), fails: 'HUB_RESPONSE' },
  { what: 'an answer without content-length, cut', fault: () => storage(2, (e) => { e.response.writeHead(206, { 'content-range': `bytes ${e.range!.start}-${e.range!.end - 1}/${e.file!.content.size}` }); e.response.end(e.file!.content.read(e.range!.start, e.range!.end - 100)); }) },
  { what: 'more bytes than it says', fault: () => storage(2, (e) => { e.response.writeHead(206, { 'content-range': `bytes ${e.range!.start}-${e.range!.end - 1}/${e.file!.content.size}` }); e.response.end(Buffer.concat([e.file!.content.read(e.range!.start, e.range!.end), Buffer.from('more')])); }) },
  { what: 'no ranges at all', fault: () => noRanges },
  { what: 'no ranges, and drops in the middle', fault: () => { let n = 0; return (e) => { if (e.server !== 'storage' || n++ > 6 || n < 5) return noRanges(e); const { response, file } = e; response.writeHead(200, { 'content-length': file!.content.size }); response.write(file!.content.read(0, 200_000), () => response.destroy()); return true; }; } },
  { what: 'ranges on some of its machines', fault: () => { let n = 0; return (e) => (n++ % 3 === 2 ? noRanges(e) : false); } },
  { what: 'a truncated file', fault: () => storage(always, (e) => { const size = e.file!.content.size - 50_000; e.response.writeHead(206, { 'content-range': `bytes ${e.range!.start}-${Math.min(size, e.range!.end) - 1}/${size}` }); e.response.end(); }), fails: 'HUB_RESPONSE' },
  { what: 'damage to one block, once', fault: () => { let n = 0; return (e) => { if (e.server !== 'storage' || n++ !== 2) return false; corrupted(e); return true; }; } },
  { what: 'damage to every block', fault: () => storage(always, corrupted), fails: 'HASH_MISMATCH' },
  { what: 'another file than it says', fault: (server) => { for (const file of server.files.values()) if (file.lfs) file.said = { ...file.said, sha256: 'ab'.repeat(32) }; return () => false; }, fails: 'HASH_MISMATCH' },
  { what: 'changes the file mid-way and says so', fault: replaced(4, true), fails: 'SOURCE_CHANGED', keeps: true },
  { what: 'changes the file mid-way and keeps silent', fault: replaced(4, false), fails: 'SOURCE_CHANGED', keeps: true },
  { what: 'links that expire after a request', fault: (server) => { let n = 0; return ({ server: which }) => { if (which === 'storage' && n++ % 2) server.expireLinks(); return false; }; } },
  { what: 'links that are never good', fault: (server) => ({ server: which }) => { if (which === 'storage') server.expireLinks(); return false; }, fails: 'HUB_RESPONSE' },
  { what: 'a web page in place of the file', fault: () => storage(always, ({ response }) => void response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<html>log in')), fails: 'HUB_RESPONSE' },
  { what: 'a web page in place of the listing', fault: () => (e) => isListing(e) && (e.response.writeHead(200, { 'content-type': 'text/html' }).end('<html>log in'), true), fails: 'HUB_RESPONSE' },
  { what: 'a listing of another form', fault: () => (e) => isListing(e) && (e.response.writeHead(200).end('{"sha": "main", "siblings": 3}'), true), fails: 'HUB_RESPONSE' },
  { what: 'a listing that is cut', fault: () => (e) => isListing(e) && (e.response.writeHead(200, { 'content-length': 500 }).write('{"sha"', () => e.response.destroy()), true), fails: 'HUB_UNREACHABLE' },
  { what: 'a file that is packed', fault: () => storage(always, (e) => { const packed = gzipSync(e.file!.content.read(e.range!.start, e.range!.end)); e.response.writeHead(206, { 'content-encoding': 'gzip', 'content-range': `bytes ${e.range!.start}-${e.range!.end - 1}/${e.file!.content.size}` }).end(packed); }), fails: 'HUB_RESPONSE' },
  { what: 'redirects in a circle', fault: (server) => (e) => { const start = server.asked.map(({ path }) => path).find((path) => path.includes('/resolve/')); return start !== undefined && (e.response.writeHead(302, { location: e.server === 'hub' ? `${server.storageUrl}/round` : `${server.hubUrl}${start}` }).end(), true); }, fails: 'HUB_RESPONSE' },
  { what: 'a redirect to itself', fault: () => (e) => e.path.includes('/resolve/') && (e.response.writeHead(302, { location: e.request.url }).end(), true), fails: 'HUB_RESPONSE' },
  { what: 'redirects without end', fault: () => { let n = 0; return (e) => !isListing(e) && (e.response.writeHead(302, { location: `${e.path}?${n++}` }).end(), true); }, fails: 'HUB_RESPONSE' },
  { what: 'a redirect to a file on this machine', fault: () => (e) => e.path.includes('/resolve/') && (e.response.writeHead(302, { location: 'file:///etc/passwd' }).end(), true), fails: 'HUB_RESPONSE' },
  { what: 'a redirect to nowhere', fault: () => (e) => e.path.includes('/resolve/') && (e.response.writeHead(302, { location: 'http://' }).end(), true), fails: 'HUB_RESPONSE' },
  { what: 'a redirect to a machine that is off', fault: () => (e) => e.path.includes('/resolve/') && (e.response.writeHead(302, { location: 'http://127.0.0.1:1/x' }).end(), true), fails: 'HUB_UNREACHABLE' },
  { what: '404 for the bytes', fault: () => (e) => e.path.includes('/resolve/') && (status(404)(e), true), fails: 'HUB_NOT_FOUND' },
  { what: '403 for the bytes', fault: () => (e) => e.path.includes('/resolve/') && (status(403)(e), true), fails: 'TOKEN_REFUSED' },
  { what: 'terms to accept', fault: () => (e) => e.path.includes('/resolve/') && (status(403, { 'x-error-code': 'GatedRepo' })(e), true), fails: 'LICENCE_NOT_ACCEPTED' },
  { what: 'garbage in place of HTTP', fault: () => storage(always, ({ response }) => void response.socket?.end('SSH-2.0-hello\r\n')), fails: 'HUB_UNREACHABLE' },
  { what: 'a disk without room', fault: () => () => false, fails: 'DISK_FULL', extra: { free: async () => 1000 } },
  { what: 'a look at the file that refuses it', fault: () => () => false, fails: 'MODEL_MISMATCH', extra: {} },
]; // prettier-ignore
