/** What became of a file that was seen before. 'unreadable': something is there, or its disk is, but it can't be looked at. */
export const FILE_STATES = ['present', 'missing', 'changed', 'unreadable'] as const;
export type FileState = (typeof FILE_STATES)[number];
