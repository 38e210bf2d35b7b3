/** Trainers that can go on from a LoRA. */
export const TRAINER_IDS = ['diffsynth', 'musubi', 'ai-toolkit', 'onetrainer'] as const;
export type TrainerId = (typeof TRAINER_IDS)[number];

/** How long to train, unless the user says. */
export const DEFAULT_STEPS = 500;
