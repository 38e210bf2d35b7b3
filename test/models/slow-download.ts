import { fetchFile } from './downloads.ts';
import type { HubServer } from './hub-server.ts';

/** A process that downloads one file, for tests that kill it: node slow-download.ts HUB TARGET BYTES_PER_SECOND */
const [hubUrl = '', target = '', speed = ''] = process.argv.slice(2);
const { RateLimit } = await import('../../main/weights/hub/rate-limit.ts');
process.stdout.write('begins\n');
const result = await fetchFile({ hubUrl } as HubServer, 'org/name', 'model.safetensors', target, {
  limit: new RateLimit(Number(speed)),
});
process.stdout.write(`received ${result.received}\n`);
