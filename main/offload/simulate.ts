import type { NetworkPlan, StageGroup } from './planner.ts';
import type { StageCost } from './stage.ts';

/** What a machine does in a second; the engine's own speeds, not the vendor's. */
export interface Machine {
  readonly name: string;
  readonly cores: number;
  /** Of the disk that holds the models; Infinity: they are in memory since an earlier job. */
  readonly diskBytesPerSecond: number;
  /** f32 matrix products on all cores, with rows enough to keep them busy. */
  readonly flopsPerSecond: number;
  /** Weight bytes that one core reads from memory, and casts to f32 where they are no bytes. */
  readonly castBytesPerSecond: number;
  /** Products of bytes, see onnx/eight-bit.ts. */
  readonly byteFlopsPerSecond: number;
  /** Of chains of linear layers (see linear/), one core: weight bytes read, and products with the work on their results. */
  readonly chainBytesPerSecond: number;
  readonly chainFlopsPerSecond: number;
  /** Seconds to make one stage ready. */
  readonly stageSeconds: number;
  readonly device?: DeviceSpeed | undefined;
}

export interface DeviceSpeed {
  readonly flopsPerSecond: number;
  readonly busBytesPerSecond: number;
  /** Weights cross the bus as they lie in the file; else the CPU casts them, and twice the bytes cross. */
  readonly castsThere: boolean;
}

/** Of that speed, where weights are mapped: each page of them is fetched on the way. */
const MAPPED_SHARE = 0.55;

/** Fewer rows than this leave the cores waiting for memory: the weights' own reading counts, not the products. */
const BUSY_ROWS = 64;

export interface Simulated {
  readonly seconds: number;
  /** Of them, those in which nothing was computed because bytes had not come. */
  readonly waitingSeconds: number;
}

/**
 * Runs a plan on a machine in thought, group by group as the executor and its lanes do: the next group's bytes are
 * read while this one computes.
 */
export function simulate(costs: readonly StageCost[], plan: NetworkPlan, machine: Machine): Simulated {
  const lanes = Array.from({ length: plan.lanes }, () => 0);
  const started: number[] = [];
  const done: number[] = [];
  let read = 0;
  let waiting = 0;
  plan.groups.forEach((group, i) => {
    // While the group before it is run, and as many ahead as there are lanes.
    read = Math.max(read, started[i - plan.lanes] ?? 0) + group.weightBytes / machine.diskBytesPerSecond;
    const lane = lanes.indexOf(Math.min(...lanes));
    const free = Math.max(lanes[lane] ?? 0, done[group.waitsFor] ?? 0);
    const start = Math.max(free, read);
    waiting += start - free;
    started.push(start);
    done.push(start + computeSeconds(costs, group, plan, machine));
    lanes[lane] = done[i] ?? start;
  });
  return { seconds: Math.max(0, ...done), waitingSeconds: waiting / plan.lanes };
}

/** What each group of a plan takes of a job's time; of groups side by side, its share of it. */
export function groupSeconds(costs: readonly StageCost[], plan: NetworkPlan, machine: Machine): number[] {
  return plan.groups.map((group) => computeSeconds(costs, group, plan, machine) / plan.lanes);
}

function computeSeconds(costs: readonly StageCost[], group: StageGroup, plan: NetworkPlan, machine: Machine): number {
  const members = costs.slice(group.first, group.first + group.count);
  const flops = members.reduce((sum, cost) => sum + cost.flops.fixed + cost.flops.perImage * plan.images, 0);
  const setUp = machine.stageSeconds * members.length;
  const { device, cores } = machine;
  if (plan.work === 'chains') {
    return group.weightBytes / machine.chainBytesPerSecond + flops / machine.chainFlopsPerSecond;
  }
  const bytes = weightBytesOf(members);
  const castRate = machine.castBytesPerSecond * (plan.weightsAs === 'mapped' ? MAPPED_SHARE : 1) * plan.shares;
  const cast = (bytes.cast + bytes.whole) / castRate;
  if (device) {
    const crossing = group.weightBytes * (device.castsThere ? 1 : 2);
    const there = crossing / device.busBytesPerSecond + flops / device.flopsPerSecond;
    return setUp + (device.castsThere ? 0 : cast) + there;
  }
  const share = plan.threadsPerLane === 'one' ? cores : 1;
  return setUp + cast + (flops * share * productSeconds(bytes, machine)) / busy(flops, group);
}

/** Of one operation. Those of both kinds of weights take turns, as many as they have values: two bytes of cast ones are one. */
function productSeconds({ cast, whole }: WeightBytes, { flopsPerSecond, byteFlopsPerSecond }: Machine): number {
  const values = cast / 2 + whole;
  if (values === 0) return 1 / flopsPerSecond;
  return (cast / 2 / flopsPerSecond + whole / byteFlopsPerSecond) / values;
}

interface WeightBytes {
  readonly cast: number;
  readonly whole: number;
}

/** Bytes of weights that are cast to f32, and of those that are multiplied as bytes. */
function weightBytesOf(members: readonly StageCost[]): WeightBytes {
  const sum = { cast: 0, whole: 0 };
  for (const { weights } of members)
    for (const range of weights) {
      if (!('dtype' in range)) sum.whole += range.length;
      else if (range.dtype !== 'F32') sum.cast += range.length;
    }
  return sum;
}

/** The share of the cores' speed that products with so few rows reach. A weight of 2 bytes and a row are 2 operations. */
function busy(flops: number, { weightBytes }: StageGroup): number {
  const rows = weightBytes > 0 ? flops / weightBytes : BUSY_ROWS;
  return Math.max(1 / BUSY_ROWS, Math.min(1, rows / BUSY_ROWS));
}
