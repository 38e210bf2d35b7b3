import { oc } from '@orpc/contract';
import { createRouterClient, implement } from '@orpc/server';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { I2lError } from '../../main/contract/errors.ts';
import { errorFromWire } from '../../main/contract/wire-errors.ts';
import { answerErrors } from '../../main/handlers/base.ts';

const contract = {
  ask: oc.input(z.object({ of: z.array(z.object({ n: z.int() })) })).output(z.object({ n: z.number() })),
};
const handlers = implement(contract).$context<object>().use(answerErrors);
const client = createRouterClient(
  handlers.router({
    ask: handlers.ask.handler(({ input }) => {
      const n = input.of[0]?.n ?? 0;
      if (n === 1) throw new I2lError('DISK_FULL', '/a: the disk is full.', { file: '/a', sizes: ['1', '2'] }, new Error('why'));
      if (n === 2) throw new TypeError('a slip');
      return { n: n === 3 ? (NaN as never) : n };
    }),
  }),
  { context: {} },
);

async function failure(input: unknown): Promise<I2lError> {
  try {
    await client.ask(input as { of: { n: number }[] });
  } catch (error) {
    return errorFromWire(error);
  }
  return expect.unreachable('it was expected to fail');
}

test('a client gets the error that the handler threw', async () => {
  const error = await failure({ of: [{ n: 1 }] });
  expect(error.toShape()).toEqual({
    code: 'DISK_FULL',
    message: '/a: the disk is full.',
    fields: { file: '/a', sizes: ['1', '2'] },
    cause: 'why',
  });
  expect(await client.ask({ of: [{ n: 7 }] })).toEqual({ n: 7 });
});

test('a slip of ours and an answer of the wrong form are INTERNAL', async () => {
  expect(await failure({ of: [{ n: 2 }] })).toMatchObject({ code: 'INTERNAL', message: expect.stringContaining('a slip') });
  expect(await failure({ of: [{ n: 3 }] })).toMatchObject({ code: 'INTERNAL', message: expect.stringContaining('n: ') });
});

test.each([
  [{ of: [{ n: 1 }, { n: 'x' }] }, /of\.1\.n/],
  [undefined, /object/],
  [{ of: null }, /of: /],
  ['\u0000', /object/],
])('what the schema refuses is a BAD_ARGUMENT that names the place: %j', async (input, says) => {
  const error = await failure(input);
  expect(error.code).toBe('BAD_ARGUMENT');
  expect(error.message).toMatch(says);
});

test('what is no answer of a procedure stays an error', () => {
  expect(errorFromWire(new Error('the wire broke')).code).toBe('INTERNAL');
  expect(errorFromWire(Object.assign(new Error('x'), { data: { error: { code: 'MADE_UP', message: '', fields: {} } } })).code).toBe('INTERNAL'); // prettier-ignore
});
