import { resolve } from 'node:path';
import { I2lError } from '../contract/errors.ts';

/** 'style.safetensors:0.7' to its file and strength, any finite number; without one it is 1. @throws I2lError BAD_ARGUMENT */
export function parseInput(text: string): { file: string; strength: number } {
  const [, file, number = '1'] = /^(.*\.safetensors)(?::([^:]+))?$/s.exec(text) ?? [];
  const strength = number.trim() === '' ? Number.NaN : Number(number);
  if (file !== undefined && Number.isFinite(strength)) return { file: resolve(file), strength };
  throw new I2lError('BAD_ARGUMENT', `${text}: expected FILE.safetensors or FILE.safetensors:STRENGTH.`, { option: 'inputs' });
}
