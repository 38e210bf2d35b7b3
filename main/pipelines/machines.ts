import type { Machine } from '../offload/simulate.ts';

/**
 * Machines that times are predicted for. The first was measured with this engine (test/bench/RESULTS.md); the others
 * are that one scaled by what their vendors and common benchmarks say of cores, disks and buses, and were not measured.
 */
export const MEASURED: Machine = {
  name: '2 server cores (AVX-512), models in memory',
  cores: 2,
  diskBytesPerSecond: Infinity,
  flopsPerSecond: 330e9,
  castBytesPerSecond: 4.4e9,
  byteFlopsPerSecond: 900e9,
  chainBytesPerSecond: 4.8e9,
  chainFlopsPerSecond: 19e9,
  stageSeconds: 0.0005,
};

/** This machine, as long as nothing of it was measured: as fast as that one, by its cores. */
export function guessedMachine(cores: number): Machine {
  const share = cores / MEASURED.cores;
  return {
    ...MEASURED,
    ...{ name: 'this machine', cores },
    flopsPerSecond: MEASURED.flopsPerSecond * share,
    byteFlopsPerSecond: MEASURED.byteFlopsPerSecond * share,
  };
}

/** Desktop and laptop cores of these years are about twice as fast as a shared server core. */
const desktop = (cores: number): Omit<Machine, 'name' | 'diskBytesPerSecond'> => ({
  cores,
  flopsPerSecond: cores * 2 * 65e9,
  castBytesPerSecond: 1.5 * MEASURED.castBytesPerSecond,
  byteFlopsPerSecond: 2 * cores * 2 * 65e9,
  chainBytesPerSecond: 1.5 * MEASURED.chainBytesPerSecond,
  chainFlopsPerSecond: 1.5 * MEASURED.chainFlopsPerSecond,
  stageSeconds: 0.00025,
});

const [HDD, SATA, NVME] = [0.15e9, 0.5e9, 3e9];

export const MACHINES: readonly Machine[] = [
  MEASURED,
  { ...desktop(8), name: '8 desktop cores, hard disk', diskBytesPerSecond: HDD },
  { ...desktop(8), name: '8 desktop cores, SATA SSD', diskBytesPerSecond: SATA },
  { ...desktop(8), name: '8 desktop cores, NVMe', diskBytesPerSecond: NVME },
  {
    ...desktop(8),
    name: 'Apple M-series, 8 cores, no GPU used',
    diskBytesPerSecond: 5e9,
  },
  {
    ...desktop(6),
    name: 'laptop GPU with 8 GB, NVMe',
    diskBytesPerSecond: NVME,
    device: { flopsPerSecond: 4e12, busBytesPerSecond: 10e9, castsThere: false },
  },
  {
    ...desktop(12),
    name: 'desktop GPU with 24 GB (CUDA), NVMe',
    diskBytesPerSecond: 2 * NVME,
    device: { flopsPerSecond: 25e12, busBytesPerSecond: 20e9, castsThere: true },
  },
];
