import type { DeviceReport } from '../contract/devices.ts';
import { dataFolder } from '../data-folder.ts';
import { Devices } from '../runners/devices.ts';
import type { CommandContext } from './commands.ts';

/** i2l devices: what this machine can compute with. */

export interface DevicesCommandOptions {
  readonly test?: boolean;
}

export async function listDevices({ report, signal }: CommandContext, { test = false }: DevicesCommandOptions): Promise<void> {
  const devices = new Devices({ dataFolder: dataFolder() });
  const known = devices.list();
  const untested = known.some(({ device, outcome }) => device !== 'cpu' && outcome === null);
  const found = test || untested ? await devices.testAll(signal) : known;
  report.result(found.map(deviceLine).join('\n'), { type: 'devices', devices: found });
}

function deviceLine({ device, outcome, isAuto }: DeviceReport): string {
  return `${device.padEnd(7)} ${outcomeWords(device, outcome)}${isAuto ? '; used unless you say otherwise' : ''}`;
}

function outcomeWords(device: string, outcome: DeviceReport['outcome']): string {
  if (device === 'cpu') return 'always there';
  if (!outcome) return 'not tested yet';
  if (outcome.state === 'absent') return 'not offered on this system';
  if (outcome.state === 'failed') return `can't be used: ${outcome.why}`;
  const { seconds, cpuSeconds, differences } = outcome;
  const worst = Math.max(...Object.values(differences));
  const speed =
    seconds < cpuSeconds
      ? `${(cpuSeconds / seconds).toFixed(1)} times as fast as`
      : `${(seconds / cpuSeconds).toFixed(1)} times slower than`;
  return `works, ${speed} the CPU; results within ${worst.toExponential(1)} of the CPU's`;
}
