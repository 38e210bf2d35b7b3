import { cpus, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { parseBytes } from '../../main/cli/arguments.ts';
import { benchEta } from './eta.ts';
import { benchExperts } from './experts.ts';
import { benchFast } from './fast.ts';
import { benchFull } from './full.ts';
import { benchLibrary } from './library.ts';
import { benchRank } from './rank.ts';
import { benchResident } from './resident.ts';

/**
 * Benchmarks: each figure is a ratio against a limit or a reference measured in the same run, with the
 * machine named. Run by hand, see USAGE.
 */
const USAGE = `usage: npm run bench -- full [--only style] [--images 1,5] [--repeats 3] [--warm] [--reference FILE] [--folder DIR] [--keep]
       npm run bench -- experts [--images 1,5] [--memory 4GiB] [--fast] [--folder DIR] [--keep]
       npm run bench -- fast [--images 1,5] [--reference FILE] [--folder DIR] [--keep]
       npm run bench -- resident [--images 1,3] [--memory 6GiB,12GiB] [--fast] [--folder DIR] [--keep]
       npm run bench -- rank [--repeats 3] [--folder DIR] [--keep]
       npm run bench -- eta [--images 1,1,3] [--folder DIR]
       npm run bench -- library [--import 1000] [--folder DIR]`;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string' },
    images: { type: 'string', default: '1,5' },
    import: { type: 'string', default: '1000' },
    repeats: { type: 'string', default: '3' },
    warm: { type: 'boolean', default: false },
    fast: { type: 'boolean', default: false },
    reference: { type: 'string' },
    memory: { type: 'string', default: '4GiB' },
    folder: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});

console.log(
  `${cpus().length} x ${cpus()[0]?.model ?? 'unknown CPU'}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, ${process.platform} ${process.arch}, Node ${process.version}`,
);

const { folder, keep, memory } = values;
const imageCounts = values.images.split(',').map(Number);
if (positionals[0] === 'full' && (values.only === undefined || values.only === 'style')) {
  const [repeats, cold] = [Number(values.repeats), !values.warm];
  await benchFull({ styleOnly: values.only === 'style', imageCounts, repeats, cold, reference: values.reference, folder, keep });
} else if (positionals[0] === 'eta') {
  await benchEta({ imageCounts, models: folder });
} else if (positionals[0] === 'fast') {
  await benchFast({ imageCounts, folder, keep, reference: values.reference });
} else if (positionals[0] === 'resident') {
  const budgets = memory.split(',').map(parseBytes);
  await benchResident({ imageCounts, budgets, isFast: values.fast, folder, keep });
} else if (positionals[0] === 'experts') {
  await benchExperts({ imageCounts, memory, isFast: values.fast, folder, keep });
} else if (positionals[0] === 'rank' && Number(values.repeats) >= 1) {
  await benchRank({ folder, keep, repeats: Number(values.repeats) });
} else if (positionals[0] === 'library' && Number(values.import) >= 0) {
  await benchLibrary({ images: Number(values.import), folder });
} else {
  console.error(USAGE);
  process.exitCode = 2;
}
