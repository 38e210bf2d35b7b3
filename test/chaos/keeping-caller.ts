import { createJobSchema } from '../../main/contract/job.ts';
import { EngineKeeper } from '../../main/engine-keeper.ts';
import { runInEngine } from '../../main/engine-process.ts';

/** Runs a job, keeps its engine and waits: node keeping-caller.ts JOB, which is JSON. Prints the engine's id. */
const job = createJobSchema.parse(JSON.parse(process.argv[2] ?? ''));
let engine = 0;
await runInEngine(job, { onEvent: () => undefined, onStart: (pid) => (engine = pid) }, new EngineKeeper().starterFor(job));
console.log(engine);
setInterval(() => undefined, 60_000);
