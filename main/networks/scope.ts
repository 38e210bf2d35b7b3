import type { TensorRange } from '../contract/tensor.ts';
import type { Checkpoint } from '../weights/checkpoint.ts';
import type { Layout } from '../weights/fingerprint.ts';

/** Tensors under a prefix of the checkpoint's key tree, so that a network reads like that tree. */
export interface Scope {
  at(prefix: string | number): Scope;
  /** @throws I2lError if it is missing, of another shape, or of a dtype that we can't compute with */
  tensor(name: string, shape: readonly number[]): TensorRange;
  /** A tensor that the checkpoint holds and the computation does not need. */
  unused(name: string, shape: readonly number[]): void;
}

abstract class PrefixScope implements Scope {
  protected readonly prefix: string;

  constructor(prefix: string) {
    this.prefix = prefix;
  }

  abstract at(prefix: string | number): Scope;
  abstract tensor(name: string, shape: readonly number[]): TensorRange;
  abstract unused(name: string, shape: readonly number[]): void;

  protected path(name: string | number): string {
    return this.prefix === '' ? `${name}` : `${this.prefix}.${name}`;
  }
}

/** Reads from a checkpoint. */
export class CheckpointScope extends PrefixScope {
  readonly #checkpoint: Checkpoint;

  constructor(checkpoint: Checkpoint, prefix = '') {
    super(prefix);
    this.#checkpoint = checkpoint;
  }

  at(prefix: string | number): Scope {
    return new CheckpointScope(this.#checkpoint, this.path(prefix));
  }

  tensor(name: string, shape: readonly number[]): TensorRange {
    return this.#checkpoint.tensor(this.path(name), shape);
  }

  unused(): void {}
}

/** Writes down what a network would read: its layout, without a checkpoint. */
class LayoutScope extends PrefixScope {
  readonly layout: { name: string; shape: readonly number[] }[];
  readonly #isWhole: boolean;

  constructor(isWhole: boolean, layout: { name: string; shape: readonly number[] }[] = [], prefix = '') {
    super(prefix);
    this.#isWhole = isWhole;
    this.layout = layout;
  }

  at(prefix: string | number): Scope {
    return new LayoutScope(this.#isWhole, this.layout, this.path(prefix));
  }

  tensor(name: string, shape: readonly number[]): TensorRange {
    this.layout.push({ name: this.path(name), shape });
    return { name: this.path(name), dtype: 'BF16', shape, file: '', offset: 0, length: 0 };
  }

  unused(name: string, shape: readonly number[]): void {
    if (this.#isWhole) this.tensor(name, shape);
  }
}

/** Every tensor of a network's checkpoint, in the order in which it asks for them; or only those that it uses. */
export function recordLayout(read: (scope: Scope) => unknown, which: 'all' | 'used' = 'all'): Layout {
  const scope = new LayoutScope(which === 'all');
  read(scope);
  return scope.layout;
}

// ---- layers that all networks have ---------------------------------------------------------------

export interface Linear {
  readonly weight: TensorRange;
  readonly bias: TensorRange;
}
export type Norm = Linear;

/** weight [to, from], bias [to] */
export function linear(scope: Scope, from: number, to: number): Linear {
  return { weight: scope.tensor('weight', [to, from]), bias: scope.tensor('bias', [to]) };
}

/** weight and bias [width] */
export function norm(scope: Scope, width: number): Norm {
  return { weight: scope.tensor('weight', [width]), bias: scope.tensor('bias', [width]) };
}
