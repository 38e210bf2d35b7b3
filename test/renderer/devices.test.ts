import { describe, expect, test } from 'vitest';
import { DEVICE_FAULTS, type DeviceReport } from '../../main/contract/devices.ts';
import { settings as english } from '../../renderer/src/i18n/en/settings.ts';
import { settings as chinese } from '../../renderer/src/i18n/zh/settings.ts';
import { outcomeOf, shownDevices } from '../../renderer/src/views/settings/devices.ts';

describe('devices', () => {
  const report = (device: DeviceReport['device'], outcome: DeviceReport['outcome']): DeviceReport => ({
    ...{ device, outcome, testedAt: null, isAuto: false },
  });
  const refused = { state: 'failed', fault: 'refused', why: 'no driver' } as const;
  const passed = { state: 'passed', differences: {}, seconds: 2, cpuSeconds: 1 } as const;

  test('those that a system can’t have are left out', () => {
    expect(
      shownDevices([report('cpu', null), report('dml', { state: 'absent' }), report('cuda', null)]).map(({ device }) => device),
    ).toEqual(['cpu', 'cuda']);
  });

  test.each([
    [report('cpu', null), { state: 'good', times: 1, isCpu: true }],
    [report('webgpu', passed), { state: 'good', times: 0.5, isCpu: false }],
    [report('cuda', refused), { state: 'bad', failure: refused }],
    [report('cuda', null), { state: 'unknown' }],
  ])('%j', (given, shown) => expect(outcomeOf(given)).toEqual(shown));

  test.each(DEVICE_FAULTS)('%s is told in the user’s language', (fault) => {
    const said = (words: typeof english, network?: string): string =>
      words.deviceOutcome({ state: 'bad', failure: { state: 'failed', fault, why: 'no driver', network } });
    expect(said(english)).toMatch(/^Can’t be used: .*[.]$/);
    expect(said(chinese).replace('no driver', '')).toMatch(/^无法使用：[^a-z]*。$/);
    expect(said(english).includes('no driver')).toBe(fault === 'refused');
    expect(said(chinese, 'dinov3').includes('dinov3')).toBe(fault === 'differs');
  });
});
