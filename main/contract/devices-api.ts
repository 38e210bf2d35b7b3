import { oc } from '@orpc/contract';
import { z } from 'zod';
import { deviceReportSchema } from './devices.ts';

/** What can be asked about devices. */
export const devicesContract = {
  /** What is known; nothing is run. */
  list: oc.output(z.array(deviceReportSchema)),
  /** Tests them all anew, each in a process of its own: seconds. */
  test: oc.output(z.array(deviceReportSchema)),
};
