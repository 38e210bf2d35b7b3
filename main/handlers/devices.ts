import { implement } from '@orpc/server';
import type { DeviceReport } from '../contract/devices.ts';
import { devicesContract } from '../contract/devices-api.ts';
import { answerErrors } from './base.ts';

export interface DevicesContext {
  readonly devices: {
    list(): DeviceReport[];
    testAll(signal?: AbortSignal): Promise<DeviceReport[]>;
  };
}

const devices = implement(devicesContract).$context<DevicesContext>().use(answerErrors);

export const devicesRouter = devices.router({
  list: devices.list.handler(({ context }) => context.devices.list()),
  test: devices.test.handler(({ context, signal }) => context.devices.testAll(signal)),
});
