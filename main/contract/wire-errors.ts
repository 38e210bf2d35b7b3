import { z } from 'zod';
import { ERROR_CODES, I2lError, type ErrorShape } from './errors.ts';

const fieldValue = z.union([z.string(), z.number(), z.boolean(), z.array(z.string()).readonly()]);
export const fieldsSchema = z.record(z.string(), fieldValue).readonly();

/** An {@link I2lError} on its way between processes: what crosses a wire, and how it is made an error again. */
export const errorShapeSchema = z.object({
  code: z.enum(ERROR_CODES),
  message: z.string(),
  fields: fieldsSchema,
  cause: z.string().optional(),
});

/** The data of every error that a procedure answers with. */
const errorDataSchema = z.object({ error: errorShapeSchema });

export function errorData(error: I2lError): { readonly error: ErrorShape } {
  return { error: error.toShape() };
}

/** What a client of the contract caught, as the error that the procedure threw. */
export function errorFromWire(thrown: unknown): I2lError {
  const data: unknown = thrown instanceof Error && 'data' in thrown ? thrown.data : undefined;
  const parsed = errorDataSchema.safeParse(data);
  return parsed.success ? I2lError.fromShape(parsed.data.error) : I2lError.from(thrown);
}
