import dgram from 'node:dgram';
import dns from 'node:dns';
import { appendFileSync } from 'node:fs';
import net from 'node:net';
import { syncBuiltinESMExports } from 'node:module';

/**
 * A guard for all tests, and for the processes that they start (run-cli.ts preloads it): nothing connects to
 * another machine. With I2L_TEST_NETWORK=none nothing connects at all, not even to this one. What tried is
 * noted in I2L_TEST_NETWORK_LOG.
 */
const strict = process.env['I2L_TEST_NETWORK'] === 'none';
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[?::1\]?|\[?::ffff:127\.\d+\.\d+\.\d+\]?)$/i;

function check(what: string, host: string): void {
  if (!strict && LOOPBACK.test(host)) return;
  const log = process.env['I2L_TEST_NETWORK_LOG'];
  if (log) appendFileSync(log, `${what} ${host} by ${process.argv.slice(1).join(' ')}\n`);
  throw new Error(`a test may not use the network: ${what} ${host}`);
}

interface Address {
  readonly host?: string;
  readonly path?: string;
}

/** net.connect's arguments: options, a port and a host, a path; or all of them as one array. */
function hostOf(args: readonly unknown[]): string | undefined {
  const [first, second] = Array.isArray(args[0]) ? (args[0] as unknown[]) : args;
  if (typeof first === 'object' && first !== null) {
    const { host, path } = first as Address;
    return path === undefined ? (host ?? 'localhost') : undefined;
  }
  if (typeof first === 'string' && Number.isNaN(Number(first))) return undefined;
  return typeof second === 'string' ? second : 'localhost';
}

const connect = net.Socket.prototype.connect as (...args: unknown[]) => net.Socket;
net.Socket.prototype.connect = function (this: net.Socket, ...args: unknown[]) {
  const host = hostOf(args);
  if (host !== undefined) check('connect to', host);
  return connect.apply(this, args);
} as typeof net.Socket.prototype.connect;

const lookup = dns.lookup as (...args: unknown[]) => void;
dns.lookup = ((host: string, ...rest: unknown[]) => {
  // An address is no name: nobody is asked.
  if (net.isIP(host) === 0) check('look up', host);
  lookup(host, ...rest);
}) as typeof dns.lookup;

dgram.Socket.prototype.send = ((...args: unknown[]) => check('send to', String(args.at(-2)))) as typeof dgram.Socket.prototype.send;

syncBuiltinESMExports();
