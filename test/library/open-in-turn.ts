import { Database } from '../../main/library/database.ts';
import type { I2lError } from '../../main/contract/errors.ts';

/**
 * A process that opens a data folder, says so, and keeps it until its input ends:
 * node open-in-turn.ts FOLDER ROLE WAIT_MS
 */
const [folder = '', role = '', waitMs = '0'] = process.argv.slice(2);
try {
  const database = await Database.open(folder, {
    role: role === 'owner' ? 'owner' : 'guest',
    name: `test ${role}`,
    waitMs: Number(waitMs),
  });
  console.log('open');
  for await (const _ of process.stdin) void _;
  await database.close();
} catch (error) {
  const { code, message } = error as I2lError;
  console.log(JSON.stringify({ code, message }));
}
