const GIB = 2 ** 30;

/** Budgets in bytes that the slider offers, from half a GiB to what the machine has: fine below, coarse above. */
export function budgetSteps(machine: number): readonly number[] {
  const most = Math.max(2 * GIB, machine);
  const steps: number[] = [];
  for (let budget = 0.5 * GIB; budget <= most; budget += strideAt(budget)) steps.push(budget);
  return steps;
}

function strideAt(budget: number): number {
  if (budget < 4 * GIB) return 0.25 * GIB;
  return budget < 16 * GIB ? GIB : 4 * GIB;
}

/** The step that lies nearest to a budget. */
export function stepOf(steps: readonly number[], budget: number): number {
  const distances = steps.map((step) => Math.abs(step - budget));
  return Math.max(0, distances.indexOf(Math.min(...distances)));
}

export function budgetAt(steps: readonly number[], step: number): number {
  return steps[Math.max(0, Math.min(steps.length - 1, step))] ?? GIB;
}
