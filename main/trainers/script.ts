import { note, type Note } from '../contract/notes.ts';
import { bashQuoted, powershellQuoted } from './quoting.ts';
import { FILL_IN, type TextFile } from './trainer.ts';

/**
 * A training script, once, and written for both kinds of shell: bash (Linux, macOS, WSL) and PowerShell
 * (Windows). Paths are found from the script's own place, so that its folder can be moved to another machine.
 */
export interface Script {
  readonly settings: readonly Setting[];
  /** Environment variables of the trainer, besides the settings. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Where the commands run. */
  readonly workingFolder: Word;
  /** The last one trains, and has the mode's arguments behind its own. */
  readonly commands: readonly (readonly Word[])[];
  readonly modes: Readonly<Record<string, Mode>>;
}

export interface Setting {
  readonly name: string;
  readonly value: string;
  readonly meaning: string;
}

export interface Mode {
  readonly meaning: string;
  readonly words: readonly Word[];
}

/** An argument: as it is, a path within the script's folder, or a setting's value (and a path within it). */
export type Word = string | { readonly here: string } | { readonly setting: string; readonly then?: string };

export const SCRIPT_NAME = 'train';

export function scriptFiles(script: Script): TextFile[] {
  return [
    { name: `${SCRIPT_NAME}.sh`, text: bash(script), executable: true },
    // Without the mark, Windows PowerShell 5 takes a script for one in the system's old code page.
    { name: `${SCRIPT_NAME}.ps1`, text: `\uFEFF${powershell(script)}` },
  ];
}

export function scriptUsage({ modes }: Script): string[] {
  return Object.entries(modes).map(
    ([mode, { meaning }]) => `bash ${SCRIPT_NAME}.sh ${mode}    (Windows: .\\${SCRIPT_NAME}.ps1 ${mode})\n    ${meaning}`,
  );
}

export function scriptFillIns({ settings }: Script): Note[] {
  return settings
    .filter(({ value }) => value.startsWith(FILL_IN))
    .map(({ name: setting, value, meaning }) => {
      const files = [`${SCRIPT_NAME}.sh`, `${SCRIPT_NAME}.ps1`];
      const message = `${setting}, at the top of ${files.join(' or ')}: ${meaning}`;
      return note('TRAINING_FILL_IN', message, { setting, files, of: value.slice(`${FILL_IN}: `.length) });
    });
}

function bash(script: Script): string {
  const { settings, environment = {}, commands, modes } = script;
  const word = (part: Word): string => {
    if (typeof part === 'string') return bashQuoted(part);
    if ('here' in part) return `"$HERE"/${bashQuoted(part.here)}`;
    return part.then === undefined ? `"$${part.setting}"` : `"$${part.setting}"/${bashQuoted(part.then)}`;
  };
  const train = commands.length - 1;
  const lines = [
    '#!/usr/bin/env bash',
    ...usageComment(modes, `bash ${SCRIPT_NAME}.sh`),
    'set -euo pipefail',
    '',
    ...settings.flatMap(({ name, value, meaning }) => [`# ${meaning}`, `${name}=${bashQuoted(value)}`]),
    '',
    'HERE="$(CDPATH= cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"',
    `for FOUND in ${settings.map(({ name }) => `"$${name}"`).join(' ')}; do`,
    '  [ -e "$FOUND" ] || { echo "$FOUND: there is no such file or folder; correct it at the top of $0" >&2; exit 2; }',
    'done',
    'case "${1:-}" in',
    ...Object.entries(modes).map(([mode, { words }]) => `  ${mode}) MODE=(${words.map(word).join(' ')}) ;;`),
    `  *) echo "usage: bash $0 ${Object.keys(modes).join('|')}" >&2; exit 2 ;;`,
    'esac',
    ...Object.entries(environment).map(([name, value]) => `export ${name}=${bashQuoted(value)}`),
    `cd -- ${word(script.workingFolder)}`,
    ...commands.map((words, i) => lineByLine([...words.map(word), ...(i === train ? ['"${MODE[@]}"'] : [])])),
  ];
  return `${lines.join('\n')}\n`;
}

/** Each option with its values on a line of its own. */
function lineByLine(words: readonly string[]): string {
  return words.reduce((text, word) => `${text}${/^--|^"\$\{/.test(word) ? ' \\\n  ' : ' '}${word}`);
}

function powershell(script: Script): string {
  const { settings, environment = {}, commands, modes } = script;
  const word = (part: Word): string => {
    if (typeof part === 'string') return powershellQuoted(part);
    if ('here' in part) return `(Join-Path $PSScriptRoot ${powershellQuoted(part.here)})`;
    return part.then === undefined ? `$${part.setting}` : `(Join-Path $${part.setting} ${powershellQuoted(part.then)})`;
  };
  const array = (words: readonly Word[]): string => `@(${words.map(word).join(', ')})`;
  const train = commands.length - 1;
  const names = Object.keys(modes);
  const lines = [
    ...usageComment(modes, `.\\${SCRIPT_NAME}.ps1`),
    `param([Parameter(Mandatory = $true)][ValidateSet(${names.map(powershellQuoted).join(', ')})][string]$From)`,
    "$ErrorActionPreference = 'Stop'",
    '',
    ...settings.flatMap(({ name, value, meaning }) => [`# ${meaning}`, `$${name} = ${powershellQuoted(value)}`]),
    '',
    `foreach ($Found in @(${settings.map(({ name }) => `$${name}`).join(', ')})) {`,
    '  if (-not (Test-Path -LiteralPath $Found)) { throw "${Found}: there is no such file or folder; correct it at the top of $PSCommandPath" }',
    '}',
    'switch ($From) {',
    ...Object.entries(modes).map(([mode, { words }]) => `  ${powershellQuoted(mode)} { $Mode = ${array(words)} }`),
    '}',
    ...Object.entries(environment).map(([name, value]) => `$env:${name} = ${powershellQuoted(value)}`),
    `Push-Location -LiteralPath ${word(script.workingFolder)}`,
    'try {',
    ...commands.flatMap(([command = '', ...words], i) => [
      `  $Words = ${array(words)}${i === train ? ' + $Mode' : ''}`,
      `  & ${word(command)} @Words`,
      '  if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }',
    ]),
    '} finally { Pop-Location }',
  ];
  return `${lines.join('\n')}\n`;
}

function usageComment(modes: Script['modes'], command: string): string[] {
  return Object.entries(modes).map(([mode, { meaning }]) => `# ${command} ${mode}: ${meaning}`);
}
