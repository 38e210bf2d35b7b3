import { I2lError } from '../../contract/errors.ts';
import type { HubName } from '../../contract/models.ts';

/** A hub, or a mirror of it, with what the user is known by there. */
export interface HubSource {
  readonly hub: HubName;
  /** Without a slash at its end. */
  readonly endpoint: string;
  readonly token?: string | undefined;
}

export const HUB_TITLES: Readonly<Record<HubName, string>> = { huggingface: 'Hugging Face', modelscope: 'ModelScope' };

const DEFAULTS: Readonly<Record<HubName, string>> = {
  huggingface: 'https://huggingface.co',
  modelscope: 'https://www.modelscope.cn',
};

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * A hub at the address and with the token that its own tools would take from the environment: HF_ENDPOINT and
 * HF_TOKEN; MODELSCOPE_ENDPOINT (or MODELSCOPE_DOMAIN) and MODELSCOPE_API_TOKEN.
 * @throws I2lError BAD_ARGUMENT for an address that is none
 */
export function sourceFromEnvironment(hub: HubName, env: Environment = process.env): HubSource {
  const hugging = hub === 'huggingface';
  const endpoint = hugging ? env['HF_ENDPOINT'] : env['MODELSCOPE_ENDPOINT'] || env['MODELSCOPE_DOMAIN'];
  return makeSource(hub, endpoint || undefined, (hugging ? env['HF_TOKEN'] : env['MODELSCOPE_API_TOKEN']) || undefined);
}

/** Whether this is the hub itself, over a connection that nobody else reads, and no mirror of it. */
export function isHubItself({ hub, endpoint }: HubSource): boolean {
  return new URL(endpoint).origin === DEFAULTS[hub];
}

/** @param endpoint of a mirror; without a scheme it is taken as https. @throws I2lError BAD_ARGUMENT */
export function makeSource(hub: HubName, endpoint: string = DEFAULTS[hub], token?: string): HubSource {
  const text = endpoint.trim();
  const address = /^[a-z]+:\/\//i.test(text) ? text : `https://${text}`;
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (!url || !['http:', 'https:'].includes(url.protocol) || url.username || url.password || url.search || url.hash) {
    const example = DEFAULTS[hub];
    throw new I2lError('BAD_ARGUMENT', `The address of the hub has to look like ${example}.`, {
      option: 'endpoint',
      hub,
      example,
      reason: 'endpoint-form',
    });
  }
  // A header of other characters would be refused with the token in the message.
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
    throw new I2lError('BAD_ARGUMENT', 'The token has to be one word of plain characters.', {
      option: 'token',
      hub,
      reason: 'token-form',
    });
  }
  return { hub, endpoint: address.replace(/\/+$/, ''), token };
}

/**
 * The headers that say who asks, for the hub's own origin; none over a connection that others can read.
 * ModelScope's API takes the token as a session cookie as well, and older parts of it only so.
 */
export function credentialsOf({
  hub,
  endpoint,
  token,
}: HubSource): { origin: string; headers: Record<string, string> } | undefined {
  if (token === undefined) return undefined;
  const { protocol, hostname, origin } = new URL(endpoint);
  const local = ['localhost', '127.0.0.1', '[::1]'].includes(hostname);
  if (protocol !== 'https:' && !local) return undefined;
  const cookie = hub === 'modelscope' ? { cookie: `m_session_id=${token}` } : {};
  return { origin, headers: { authorization: `Bearer ${token}`, ...cookie } };
}
