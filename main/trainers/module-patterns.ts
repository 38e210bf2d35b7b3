import { targetBlocks, type Target } from '../lora/targets.ts';

/**
 * How a trainer is told which layers it trains: those of the LoRA and no other. One that it would add starts at
 * random beside a start that doesn't, and one that it leaves out loses what the start has there.
 */

/** A layer within a block ('transformer_blocks.3.attn.to_q'), or one outside ('img_in'). */
const IN_BLOCK = /^([a-z_]+)\.(\d+)\.(.+)$/;

/**
 * The names within a block ('attn.to_q') if the LoRA has the same ones in all blocks of the target's, which is
 * what experts make; else undefined.
 */
export function namesInAllBlocks(target: Target, modules: readonly string[]): string[] | undefined {
  const names = [...new Set(modules.map((path) => IN_BLOCK.exec(path)?.[3] ?? ''))];
  const blocks = new Set(targetBlocks(target).flatMap((block) => block.modules.map(({ path }) => blockOf(path))));
  const found = new Set(modules);
  const isWhole = found.size === names.length * blocks.size && names.every((name) => [...blocks].every((block) => found.has(`${block}.${name}`))); // prettier-ignore
  return isWhole ? names : undefined;
}

function blockOf(path: string): string {
  const [, component = '', index = ''] = IN_BLOCK.exec(path) ?? [];
  return `${component}.${index}`;
}

/**
 * A regular expression for the LoRA's modules and no other of the model's. It means the same to Python's match,
 * fullmatch and search, and has no character that a shell, TOML, YAML or a list with commas would take otherwise.
 */
export function modulePattern(target: Target, modules: readonly string[]): string {
  const byName = new Map<string, string[]>();
  for (const path of modules) {
    const [, component, index = '', name = ''] = IN_BLOCK.exec(path) ?? [];
    if (component === undefined) collect(byName, literal(path), '');
    else collect(byName, `${component} ${literal(name)}`, index);
  }
  const bySpan = new Map<string, string[]>();
  for (const [key, indices] of byName) {
    const [component = '', name] = key.split(' ');
    collect(bySpan, name === undefined ? '' : `${component}[.]${indexPattern(target, component, indices)}`, name ?? component);
  }
  const byNames = new Map<string, string[]>();
  for (const [span, names] of bySpan) collect(byNames, `${span === '' ? '' : '[.]'}${oneOf(names)}`, span);
  return `^${oneOf([...byNames].map(([names, spans]) => `${names.startsWith('[.]') ? oneOf(spans) : ''}${names}`))}$`;
}

function collect(map: Map<string, string[]>, key: string, item: string): void {
  map.set(key, [...(map.get(key) ?? []), item]);
}

function indexPattern(target: Target, component: string, indices: readonly string[]): string {
  const blocks = target.components.find(({ modulePrefix }) => modulePrefix === component)?.blocks;
  return indices.length === blocks ? '[0-9]+' : oneOf(indices);
}

function oneOf(parts: readonly string[]): string {
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : `(${parts.join('|')})`;
}

const literal = (path: string): string => path.replaceAll('.', '[.]');
