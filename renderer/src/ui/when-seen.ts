import type { Attachment } from 'svelte/attachments';

/** On the end of a long list: does something, e.g. shows more of it, whenever that end comes into sight. */
export function whenSeen(run: () => void): Attachment {
  return (element) => {
    const observer = new IntersectionObserver(([entry]) => {
      if (entry?.isIntersecting) run();
    });
    observer.observe(element);
    return () => observer.disconnect();
  };
}
