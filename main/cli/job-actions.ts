/** What i2l jobs does to a job; named apart, so that --help needs no database. */
export const JOB_ACTIONS = {
  pause: 'stop them before they begin; resume lets them go on',
  resume: 'let paused jobs go on',
  cancel: 'end jobs that have not ended',
  retry: 'run ended jobs again; what is finished of them is not done again',
  requeue: 'send waiting jobs to the end of the queue',
  remove: 'forget ended jobs; their files stay',
} as const;

export type JobAction = keyof typeof JOB_ACTIONS;
