import type { ExpertView, FoundModel, ModelView, UnusedModel } from '../contract/models.ts';
import { EXPERT_NEEDS } from '../weights/catalogue.ts';

/** What the models on this machine mean for the user: which experts are ready, what is still to come. */

export function expertViews(models: readonly ModelView[]): ExpertView[] {
  return EXPERT_NEEDS.map(({ target, expert, needs }) => {
    const own = models.filter(({ id }) => needs.includes(id));
    const here = own.filter(({ state }) => state === 'here').length;
    return {
      target,
      expert,
      models: [...needs],
      state: here === needs.length ? 'ready' : own.every(({ state }) => state === 'missing') ? 'missing' : 'incomplete',
      bytes: own.reduce((sum, { found, bytes = 0 }) => sum + (found?.bytes ?? bytes), 0),
      missingBytes: own.reduce((sum, model) => sum + model.missingBytes, 0),
    };
  });
}

/** Models that were found and that no job takes, and why. */
export function unusedModels(found: readonly FoundModel[], views: readonly ModelView[]): UnusedModel[] {
  const taken = new Set(views.map((view) => view.found?.path));
  return found.filter(({ path }) => !taken.has(path)).map((model) => ({ ...model, why: whyUnused(model) }));
}

function whyUnused({ isUsable, synthetic, variant }: FoundModel): UnusedModel['why'] {
  if (!isUsable) return 'dtype';
  if (synthetic) return 'random';
  return variant === 'other-sizes' ? 'sizes' : 'spare';
}
