import type { DeviceFailure, DeviceReport } from '../../../../main/contract/devices.ts';

/** What a device's test came to, to be said in the user's language. */
export type ShownOutcome =
  | { readonly state: 'good'; readonly times: number; readonly isCpu: boolean }
  | { readonly state: 'bad'; readonly failure: DeviceFailure }
  | { readonly state: 'unknown' };

/** Those that this system may have; the others are no news. */
export function shownDevices(reports: readonly DeviceReport[]): readonly DeviceReport[] {
  return reports.filter(({ outcome }) => outcome?.state !== 'absent');
}

/** @returns for one that passed: how many times as fast as the CPU it is */
export function outcomeOf({ device, outcome }: DeviceReport): ShownOutcome {
  if (device === 'cpu') return { state: 'good', times: 1, isCpu: true };
  if (!outcome || outcome.state === 'absent') return { state: 'unknown' };
  if (outcome.state === 'failed') return { state: 'bad', failure: outcome };
  return { state: 'good', times: outcome.cpuSeconds / outcome.seconds, isCpu: false };
}
