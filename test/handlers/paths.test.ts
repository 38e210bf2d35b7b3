import { resolve } from 'node:path';
import { isContractProcedure } from '@orpc/contract';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { contract } from '../../main/contract/api.ts';
import { ChosenPaths, windowPath } from '../../main/handlers/paths.ts';

test.each(['/a/b', '/a/../b/', '//server/share/x'])('%s may be named', (path) => {
  expect(windowPath(path)).toBe(resolve(path));
});

test.each(['a', './a', '../a', '', '~', '//?/C:/x', '//./PhysicalDrive0', '\\\\?\\C:\\x'])('%j may not', (path) => {
  expect(() => windowPath(path)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
});

describe('chosen paths', () => {
  const chosen = new ChosenPaths();
  chosen.add(['/pictures/autumn', '/loras/a.safetensors']);

  test.each(['/pictures/autumn', '/pictures/autumn/', '/pictures/autumn/red/1.png', '/loras/a.safetensors'])(
    '%s may be named',
    (path) => {
      expect(chosen.allow(path)).toBe(resolve(path));
    },
  );

  test.each(['/pictures', '/', '/pictures/autumn2', '/pictures/autumn/../spring', '/loras/b.safetensors', '/etc/passwd'])(
    '%s may not',
    (path) => {
      const reason = { code: 'BAD_ARGUMENT', fields: { file: path, reason: 'path-not-chosen' } };
      expect(() => chosen.allow(path)).toThrow(expect.objectContaining(reason));
    },
  );

  test('a path has to be whole, whatever was chosen', () => {
    expect(() => chosen.allow('autumn')).toThrow(expect.objectContaining({ fields: { file: 'autumn', reason: 'path-not-whole' } }));
  });
});

describe('what a client may send', () => {
  /** Schemas of all procedures' inputs, by name. */
  function inputsOf(router: object, name = ''): [name: string, input: z.ZodType][] {
    return Object.entries(router).flatMap(([key, part]: [string, object]) => {
      if (!isContractProcedure(part)) return inputsOf(part, `${name}${key}.`);
      const { inputSchema } = part['~orpc'];
      return inputSchema ? [[`${name}${key}`, inputSchema as z.ZodType] as [string, z.ZodType]] : [];
    });
  }

  /** Places where anything may stand: JSON Schema's {} says nothing of a value. */
  function openPlaces(schema: unknown, place: string): string[] {
    if (typeof schema !== 'object' || schema === null) return [];
    const entries = Object.entries(schema).filter(([key]) => key !== 'properties' && key !== 'default');
    const { properties = {} } = schema as { properties?: object };
    if (entries.length === 0) return [place];
    return [...entries, ...Object.entries(properties)].flatMap(([key, inner]) => openPlaces(inner, `${place}.${key}`));
  }

  const inputs = inputsOf(contract);

  test('is known to the last field: nothing passes unseen to where a job would read and write files', () => {
    expect(inputs.length).toBeGreaterThan(50);
    const jobs = z.object({ kind: z.string(), input: z.unknown() });
    expect(openPlaces(z.toJSONSchema(jobs, { io: 'input' }), 'jobs')).toEqual(['jobs.input']);
    const open = inputs.flatMap(([name, input]) =>
      openPlaces(z.toJSONSchema(input, { io: 'input', unrepresentable: 'any' }), name),
    );
    expect(open).toEqual([]);
  });
});
