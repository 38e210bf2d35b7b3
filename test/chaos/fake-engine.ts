import { appendFileSync, closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';

/** Writes a file in pieces under another name and renames it: node fake-engine.ts OUTPUT CHUNKS */
const [output = '', chunks = ''] = process.argv.slice(2);
const part = `${output}.${process.pid}-0.i2l-part`;

function stop(): never {
  rmSync(part, { force: true });
  process.exit(130);
}
process.on('message', stop).on('disconnect', stop);

writeFileSync(part, '');
for (let i = 0; i < Number(chunks); i++) {
  appendFileSync(part, `chunk ${i}\n`);
  await setTimeout(5);
}
const handle = openSync(part, 'r+');
fsyncSync(handle);
closeSync(handle);
renameSync(part, output);
process.exit(0);
