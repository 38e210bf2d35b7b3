import type { Component } from 'svelte';

export interface MenuItem {
  readonly label: string;
  readonly run: () => void;
  readonly icon?: Component<{ size?: number }>;
  readonly keys?: string;
  readonly danger?: boolean;
  readonly disabled?: boolean;
  /** A line above it. */
  readonly divided?: boolean;
}
