import { resolve } from 'node:path';
import { I2lError } from '../contract/errors.ts';

/** 'style.safetensors:0.7' to its file and strength; without one it is 1. @throws I2lError BAD_ARGUMENT */
export function parseInput(text: string): { file: string; strength: number } {
  const [, file = text, strength = '1'] = /^(.*\.safetensors)(?::(-?\d+(?:\.\d+)?))?$/.exec(text) ?? [];
  if (file.endsWith('.safetensors')) return { file: resolve(file), strength: Number(strength) };
  throw new I2lError('BAD_ARGUMENT', `${text}: expected FILE.safetensors or FILE.safetensors:STRENGTH.`, { option: 'inputs' });
}
