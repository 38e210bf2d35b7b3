import { lstatSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { contentOf, type Content } from '../weights/atomic-copy.ts';
import { manyVersions, MOST_VERSIONS, versionName } from '../weights/file-names.ts';
import { asListed } from './checks.ts';

/** The files of one export. */
export interface Targets {
  readonly name: string;
  readonly version: number;
  readonly lora: string;
  readonly preview: string | undefined;
  readonly sidecar: string | undefined;
  /** The same content lies under this name. */
  readonly isThere: boolean;
}

export interface Wanted {
  readonly folder: string;
  readonly name: string;
  readonly preview: Uint8Array | undefined;
  readonly sidecar: boolean;
  readonly wasUsed: (path: string, sha256: string) => boolean;
}

/**
 * The first version of the name under which the same content lies, or nothing at all: neither the LoRA nor
 * anybody's preview or notes.
 * @throws I2lError FILE_WRITE_FAILED if a thousand are taken
 */
export async function chooseTargets(wanted: Wanted, content: Content): Promise<Targets> {
  for (let version = 1; version <= MOST_VERSIONS; version++) {
    const targets = targetsOf(wanted, version);
    if (await hasContent(targets.lora, content)) return listed(wanted, targets);
    const isFree = ![targets.lora, targets.preview, targets.sidecar].some((file) => file !== undefined && existing(file));
    if (isFree && !wanted.wasUsed(targets.lora, content.sha256)) return targets;
  }
  throw manyVersions(join(wanted.folder, `${wanted.name}.safetensors`));
}

function targetsOf({ folder, name, preview, sidecar }: Wanted, version: number, isThere = false, exact?: string): Targets {
  const versioned = exact ?? versionName(name, version);
  const beside = (wanted: boolean, ending: string): string | undefined => (wanted ? join(folder, versioned + ending) : undefined);
  return {
    name: versioned,
    version,
    lora: join(folder, `${versioned}.safetensors`),
    preview: beside(preview !== undefined, '.preview.png'),
    sidecar: beside(sidecar, '.metadata.json'),
    isThere,
  };
}

/** Under the name that the folder lists, which may differ from ours in case. */
function listed(wanted: Wanted, { lora, version }: Targets): Targets {
  const name = asListed(wanted.folder, basename(lora)).replace(/\.safetensors$/i, '');
  return targetsOf(wanted, version, true, name);
}

async function hasContent(file: string, { size, sha256 }: Content): Promise<boolean> {
  try {
    const kind = statSync(file);
    return kind.isFile() && kind.size === size && (await contentOf(file)).sha256 === sha256;
  } catch {
    return false; // Not there, or not to be read: then its name is taken.
  }
}

/** Whether a name is taken, if only by a link to nowhere. */
export function existing(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch {
    return false;
  }
}
