/** Addresses of what the page shows or saves beside the contract. */
export function thumbnailOf(hash: string): string {
  return `/media/thumbnails/${hash}`;
}

export function loraFileOf(id: number): string {
  return `/media/loras/${id}`;
}
