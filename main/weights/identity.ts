/** What a checkpoint is, as its header tells; pipelines/identify.ts finds it out. */
export interface Identity {
  readonly file: string;
  /** Catalogue id where the layout is a published one. */
  readonly id: string | undefined;
  /** The architecture; 'lora' for a static LoRA. */
  readonly network: string | undefined;
  readonly title: string;
  readonly fingerprint: string;
  readonly tensors: number;
  readonly parameters: number;
  readonly bytes: number;
  readonly dtypes: readonly string[];
  /** Made with random weights, by its own word. */
  readonly synthetic: boolean;
}

/** @throws I2lError if it isn't a safetensors file */
export type Identify = (path: string) => Identity;
