import { checkDevice } from '../../main/pipelines/device-check.ts';

/**
 * Why nothing can be tested on WebGPU here; undefined where it can. In CI it must be there (.ci/run installs a software
 * driver); elsewhere the tests skip and say why.
 */
export async function whyNoWebGpu(): Promise<string | undefined> {
  const outcome = await checkDevice('webgpu', 2);
  if (outcome.state === 'passed') return undefined;
  const why = outcome.state === 'failed' ? outcome.why : 'this build has none';
  if (process.env['CI']) throw new Error(`WebGPU has to work in CI: ${why}`);
  console.warn(`SKIPPED: tests on WebGPU; this machine has none (${why})`);
  return why;
}
