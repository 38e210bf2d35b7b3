import { describe, expect, test } from 'vitest';
import type { DeviceReport } from '../../main/contract/devices.ts';
import { outcomeOf, shownDevices } from '../../renderer/src/views/settings/devices.ts';

describe('devices', () => {
  const report = (device: DeviceReport['device'], outcome: DeviceReport['outcome']): DeviceReport => ({
    ...{ device, outcome, testedAt: null, isAuto: false },
  });
  const passed = { state: 'passed', differences: {}, seconds: 2, cpuSeconds: 1 } as const;

  test('those that a system can’t have are left out', () => {
    expect(
      shownDevices([report('cpu', null), report('dml', { state: 'absent' }), report('cuda', null)]).map(({ device }) => device),
    ).toEqual(['cpu', 'cuda']);
  });

  test.each([
    [report('cpu', null), { state: 'good', times: 1, isCpu: true }],
    [report('webgpu', passed), { state: 'good', times: 0.5, isCpu: false }],
    [report('cuda', { state: 'failed', why: 'no driver' }), { state: 'bad', why: 'no driver' }],
    [report('cuda', null), { state: 'unknown' }],
  ])('%j', (given, shown) => expect(outcomeOf(given)).toEqual(shown));
});
