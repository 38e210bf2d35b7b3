import { parentPort, Worker, isMainThread, workerData } from 'node:worker_threads';
import { openExpert } from './pipelines/models.ts';
import { joinStages } from './offload/stage.ts';
import { Session } from './onnx/runtime.ts';
const N = Number(process.argv[2] ?? 5),
  LANES = Number(process.argv[3] ?? 2),
  TH = Number(process.argv[4] ?? 1),
  K = Number(process.argv[5] ?? 4);
async function work(lane: number, lanes: number, n: number, th: number, k: number) {
  const st = openExpert('/opt/bench/qwen-image-i2l-style/model.safetensors').stages('BF16');
  const embedding = { data: new Float32Array(n * 5632).map((_, i) => Math.sin(i)), dims: [n, 5632] };
  const factor = { data: new Float32Array(n).fill(1 / n), dims: [n, 1] };
  let c = 0,
    r = 0,
    b = 0;
  for (let i = lane * k; i < st.length; i += lanes * k) {
    const t0 = performance.now();
    const g = joinStages(st.slice(i, i + k), new Set()).graph.build();
    const t1 = performance.now();
    const s = await Session.create(g, { device: 'cpu', threads: th });
    const t2 = performance.now();
    await s.run({ embedding, factor });
    const t3 = performance.now();
    await s.release();
    c += performance.now() - t3 + t2 - t1;
    r += t3 - t2;
    b += t1 - t0;
  }
  return `lane ${lane}: build ${b.toFixed(0)} create+release ${c.toFixed(0)} run ${r.toFixed(0)}`;
}
if (isMainThread) {
  const t = performance.now();
  const lanes = Array.from(
    { length: LANES },
    (_, lane) =>
      new Promise<void>((res) => {
        const w = new Worker(new URL(import.meta.url), { workerData: { lane, LANES, N, TH, K } });
        w.on('message', (m) => console.log(m));
        w.on('exit', () => res());
        w.on('error', (e) => console.log('ERR', e));
      }),
  );
  await Promise.all(lanes);
  console.log(
    `n=${N} lanes=${LANES} threads=${TH} k=${K}: ${((performance.now() - t) / 1000).toFixed(2)} s, peak ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MB`,
  );
} else {
  const { lane, LANES, N, TH, K } = workerData;
  parentPort!.postMessage(await work(lane, LANES, N, TH, K));
}
