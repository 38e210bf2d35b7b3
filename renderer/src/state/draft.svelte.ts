import type { Draft } from '../views/create/recipe.ts';

/** What is being prepared on the Create screen; it stays while other screens are looked at. */
type Editable<Of> = { -readonly [Key in keyof Of]: Of[Key] extends object ? Editable<Of[Key]> : Of[Key] };

export const draft: Editable<Draft> = $state({
  name: '',
  target: 'qwen-image',
  experts: {
    style: { on: true, strength: 1 },
    coarse: { on: false, strength: 1 },
    fine: { on: false, strength: 1 },
    bias: { on: false, strength: 1 },
  },
  skipBad: false,
});
