import type { WebContents } from 'electron';
import { beforeEach, expect, test, vi } from 'vitest';

const { getFileIcon, bitmap } = vi.hoisted(() => ({
  getFileIcon: vi.fn(),
  bitmap: { isEmpty: () => false, name: 'a white square' },
}));
vi.mock('electron', () => ({
  app: { getFileIcon },
  nativeImage: { createEmpty: () => ({ isEmpty: () => true }), createFromBitmap: vi.fn(() => bitmap) },
}));

const { nativeImage } = await import('electron');
const { dragOutOf } = await import('../../main/shell/drag-out.ts');

const startDrag = vi.fn();
const page = { startDrag, isDestroyed: () => false } as unknown as WebContents;
beforeEach(() => vi.clearAllMocks());

test('files are dragged with the system’s own icon', async () => {
  const icon = { isEmpty: () => false };
  getFileIcon.mockResolvedValue(icon);
  await dragOutOf(page)(['/loras/a.safetensors', '/loras/b.safetensors']);
  expect(getFileIcon).toHaveBeenCalledExactlyOnceWith('/loras/a.safetensors');
  const files = ['/loras/a.safetensors', '/loras/b.safetensors'];
  expect(startDrag).toHaveBeenCalledExactlyOnceWith({ file: files[0], files, icon });
});

test.each([
  ['is empty', () => Promise.resolve({ isEmpty: () => true })],
  ['can’t be had', () => Promise.reject(new Error('no such type'))],
])('where that icon %s there is another: nothing is dragged without', async (_, answer) => {
  getFileIcon.mockImplementation(answer);
  await dragOutOf(page)(['/loras/a.safetensors']);
  expect(startDrag).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ icon: bitmap }));
  const [bytes, size] = vi.mocked(nativeImage.createFromBitmap).mock.calls[0] ?? [];
  expect([bytes?.length, size]).toEqual([4 * 32 * 32, { width: 32, height: 32 }]);
});

test('a window that was closed meanwhile drags nothing', async () => {
  getFileIcon.mockResolvedValue({ isEmpty: () => false });
  await dragOutOf({ ...page, isDestroyed: () => true } as unknown as WebContents)(['/loras/a.safetensors']);
  expect(startDrag).not.toHaveBeenCalled();
});
