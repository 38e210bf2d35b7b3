import ArrowDown from '@lucide/svelte/icons/arrow-down';
import ArrowUp from '@lucide/svelte/icons/arrow-up';
import Pause from '@lucide/svelte/icons/pause';
import Play from '@lucide/svelte/icons/play';
import RotateCw from '@lucide/svelte/icons/rotate-cw';
import Trash from '@lucide/svelte/icons/trash-2';
import X from '@lucide/svelte/icons/x';
import type { Component } from 'svelte';
import { hasEnded, type JobView } from '../../../../main/contract/queue.ts';
import { api } from '../../api/client.ts';
import type { Dictionary } from '../../i18n/en/index.ts';
import { placeBefore } from '../../state/queue-mirror.ts';

export interface JobAction {
  readonly label: string;
  readonly icon: Component<{ size?: number }>;
  readonly run: () => Promise<unknown>;
  readonly disabled?: boolean;
  readonly divided?: boolean;
  readonly danger?: boolean;
}

export interface JobActions {
  /** The likeliest, at hand. */
  readonly buttons: readonly JobAction[];
  readonly menu: readonly JobAction[];
}

/** What can be asked of a job in its state. @param waiting in the order in which they run */
export function actionsOf(job: JobView, waiting: readonly JobView[], words: Dictionary['queue']): JobActions {
  const { id, state } = job;
  const labels = words.actions;
  const pause: JobAction = { label: labels.pause, icon: Pause, run: () => api.jobs.pause({ id }) };
  const resume: JobAction = { label: labels.resume, icon: Play, run: () => api.jobs.resume({ id }) };
  const cancel: JobAction = { label: labels.cancel, icon: X, run: () => api.jobs.cancel({ id }), danger: true };
  const retry: JobAction = { label: labels.retry, icon: RotateCw, run: () => api.jobs.retry({ id }) };
  const remove: JobAction = { label: labels.remove, icon: Trash, run: () => api.jobs.remove({ id }) };
  if (hasEnded(state)) return { buttons: [retry], menu: [retry, remove] };
  if (state === 'waiting' || state === 'paused') {
    const hold = state === 'paused' ? resume : pause;
    return { buttons: [hold, cancel], menu: [hold, ...moves(job, waiting, words), { ...cancel, divided: true }] };
  }
  const canPause = state === 'running' ? [pause] : [];
  const canCancel = state === 'cancelling' ? [] : [cancel];
  return { buttons: [...canPause, ...canCancel], menu: [...canPause, ...canCancel] };
}

const PRIORITIES = [
  ['high', 10],
  ['normal', 0],
  ['low', -10],
] as const;

function moves(job: JobView, waiting: readonly JobView[], words: Dictionary['queue']): JobAction[] {
  const by = (label: string, icon: JobAction['icon'], places: number): JobAction => {
    const before = placeBefore(waiting, job.id, places);
    return {
      label,
      icon,
      disabled: before === undefined,
      run: async () => before !== undefined && api.jobs.reorder({ id: job.id, before }),
    };
  };
  const { first, up, down, last } = words.actions;
  return [
    { ...by(first, ArrowUp, -waiting.length), divided: true },
    by(up, ArrowUp, -1),
    by(down, ArrowDown, 1),
    by(last, ArrowDown, waiting.length),
    ...PRIORITIES.map(([name, priority], index) => ({
      label: `${words.priority}: ${words.priorities[name]}`,
      icon: priority < 0 ? ArrowDown : ArrowUp,
      disabled: job.priority === priority,
      divided: index === 0,
      run: () => api.jobs.setPriority({ id: job.id, priority }),
    })),
  ];
}
