/** Addresses of what the page shows or saves beside the contract. */
export function thumbnailOf(hash: string): string {
  return `/media/thumbnails/${hash}`;
}

export function loraFileOf(id: number): string {
  return `/media/loras/${id}`;
}

/** The middle square: what the encoders see of an image. */
export function cropOf(hash: string): string {
  return `/media/crops/${hash}`;
}
