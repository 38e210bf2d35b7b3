import { safeStorage } from 'electron';
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { fileError, I2lError, systemCode } from '../contract/errors.ts';
import { hubNameSchema, type HubName } from '../contract/models.ts';
import { publishOver, writePart } from '../weights/atomic-copy.ts';

/** By hub: what the system's keychain made of the token, in base64. */
const fileSchema = z.partialRecord(hubNameSchema, z.base64());

/**
 * Access tokens of the user's accounts at the hubs, as the system keeps secrets: in the file they are unreadable to
 * all but this user.
 */
export class KeptTokens {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  /** Linux without a keyring would only hide them. */
  get canKeep(): boolean {
    if (!safeStorage.isEncryptionAvailable()) return false;
    return process.platform !== 'linux' || safeStorage.getSelectedStorageBackend() !== 'basic_text';
  }

  /** Undefined for none, and for one that the system no longer opens: another user's, or of a keychain that was reset. */
  async get(hub: HubName): Promise<string | undefined> {
    const kept = (await this.#read())[hub];
    if (kept === undefined || !this.canKeep) return undefined;
    try {
      return safeStorage.decryptString(Buffer.from(kept, 'base64'));
    } catch {
      return undefined;
    }
  }

  /** @param token null forgets it. @throws I2lError BAD_ARGUMENT where the system keeps no secrets, DISK_FULL, FILE_WRITE_FAILED */
  async keep(hub: HubName, token: string | null): Promise<void> {
    const others = Object.entries(await this.#read()).filter(([name]) => name !== hub);
    const next = Object.fromEntries(token === null ? others : [...others, [hub, this.#encrypted(token)]]);
    await publishOver(await writePart(this.#file, Buffer.from(JSON.stringify(next))));
  }

  #encrypted(token: string): string {
    if (!this.canKeep) {
      const message = 'This system has no keychain that the app could use; set HF_TOKEN or MODELSCOPE_API_TOKEN before its start.';
      throw new I2lError('BAD_ARGUMENT', message, { option: 'token', reason: 'no-token-store' });
    }
    return safeStorage.encryptString(token).toString('base64');
  }

  /** A file that can't be understood is as good as none, and is written anew. @throws I2lError FILE_UNREADABLE */
  async #read(): Promise<z.infer<typeof fileSchema>> {
    try {
      return fileSchema.catch({}).parse(JSON.parse(await readFile(this.#file, 'utf8')));
    } catch (error) {
      if (systemCode(error) === 'ENOENT' || error instanceof SyntaxError) return {};
      throw fileError(this.#file, 'read', error);
    }
  }
}
