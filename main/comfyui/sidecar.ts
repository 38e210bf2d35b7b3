import type { Content } from '../weights/atomic-copy.ts';

/** What a user wrote of a LoRA; what is not given is taken from the file's own metadata. */
export interface LoraDetails {
  readonly title?: string | undefined;
  readonly description?: string | undefined;
  readonly notes?: string | undefined;
  readonly tags?: readonly string[] | undefined;
  readonly triggerWords?: readonly string[] | undefined;
  readonly strength?: number | undefined;
  /** As ComfyUI-Lora-Manager's filter calls it. */
  readonly baseModel?: string | undefined;
}

export interface SidecarFile extends Content {
  readonly path: string;
  readonly name: string;
  readonly modifiedMs: number;
  readonly preview: string | undefined;
}

/**
 * The text of ComfyUI-Lora-Manager's `<name>.metadata.json` (py/utils/models.py there). Paths have forward
 * slashes on every platform, times are seconds, and from_civitai keeps it from asking Civitai about the file.
 */
export function sidecarText(file: SidecarFile, metadata: Readonly<Record<string, string>>, details: LoraDetails): string {
  const { path, name, size, sha256, modifiedMs, preview } = file;
  const { notes, tags, triggerWords, strength } = details;
  const text = {
    file_name: name,
    model_name: details.title ?? metadata['modelspec.title'] ?? name,
    file_path: forward(path),
    size,
    modified: modifiedMs / 1000,
    sha256,
    base_model: details.baseModel ?? metadata['ss_base_model_version'] ?? 'Unknown',
    preview_url: preview === undefined ? '' : forward(preview),
    preview_nsfw_level: 0,
    notes: notes ?? metadata['i2l.warning'] ?? '',
    from_civitai: false,
    civitai: { trainedWords: triggerWords ?? list(metadata['modelspec.trigger_phrase']) },
    tags: tags ?? list(metadata['modelspec.tags']),
    modelDescription: details.description ?? metadata['modelspec.description'] ?? '',
    favorite: false,
    usage_tips: JSON.stringify(strength === undefined ? {} : { strength }),
  };
  return `${JSON.stringify(text, null, 2)}\n`;
}

function forward(path: string): string {
  return path.replaceAll('\\', '/');
}

function list(text: string | undefined): string[] {
  return (text ?? '')
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}
