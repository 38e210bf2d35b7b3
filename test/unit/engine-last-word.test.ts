import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Job } from '../../main/contract/job.ts';
import { runInEngine } from '../../main/engine-process.ts';
import { rejectionOf } from './errors.ts';

/** Holds this process up until another has ended: Z says that its end waits to be taken. */
function waitForEnd(pid: number): void {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let i = 0; i < 2000; i++) {
    if (/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))) return;
    Atomics.wait(pause, 0, 0, 10);
  }
}

test.runIf(process.platform === 'linux')('an answer counts, though the engine has ended by the time that it is read', async () => {
  const job: Job = {
    kind: 'spectrum',
    file: '/nowhere/gone.safetensors',
    output: '/nowhere/x.json',
    memory: 2 ** 30,
    device: 'cpu',
    threads: 1,
  };
  for (let i = 0; i < 3; i++) {
    // The job has to be on its way before this process sleeps.
    const onStart = (pid: number): void => void setTimeout(() => waitForEnd(pid), 20);
    expect(await rejectionOf(runInEngine(job, { onEvent: () => undefined, onStart }))).toMatchObject({ code: 'FILE_NOT_FOUND' });
  }
});
