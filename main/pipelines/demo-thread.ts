import { serve } from '../offload/threads.ts';
import { makeDemoModels } from './demo-models.ts';

/** Makes the demo's models on a thread of its own: drawing their weights takes seconds. The work is the folder. */
serve<string, null>(
  (folder) => {
    makeDemoModels(folder, () => undefined);
    return Promise.resolve(null);
  },
  () => [],
  () => Promise.resolve(),
);
