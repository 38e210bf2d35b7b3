import { models } from '../state/models.svelte.ts';
import { router } from '../state/route.svelte.ts';

/** Where nothing is here and nothing was ever made, the user begins at the models; who has gone elsewhere meanwhile stays there. */
export async function leadFirstStart(): Promise<void> {
  const hasChosen = (): boolean => /^#\/./.test(location.hash);
  if (hasChosen()) return;
  await models.refresh();
  if (models.overview.value?.isFirstStart === true && !hasChosen()) router.go('models');
}
