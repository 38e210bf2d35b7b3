import { expect, test } from 'vitest';
import { I2lError } from '../../main/contract/errors.ts';
import { LOG_LINES, type JobChange, type JobRow, type JobStore, type NewJob } from '../../main/jobs/store.ts';

/** What the queue relies on, whatever keeps its jobs. */
export function testStore(make: () => JobStore): void {
  const job = (more: Partial<NewJob> = {}): NewJob => ({
    ...{ kind: 'k', lane: 'light', title: 'A job', input: { a: [1, null, 'ü'] }, priority: 0, createdAt: 1 },
    ...more,
  });
  const ids = (rows: readonly JobRow[]) => rows.map(({ id }) => id);

  test('a new job waits at the end, with what it was given', () => {
    const store = make();
    const row = store.insert(job({ createdAt: 12345 }));
    expect(row).toMatchObject({ ...job(), createdAt: 12345, id: 1, state: 'waiting', attempts: 0, crashes: 0, runSeconds: 0 });
    expect(row).toMatchObject({ progress: null, error: null, result: null, startedAt: null, finishedAt: null });
    expect(store.get(1)).toEqual(row);
    expect(store.insert(job()).position).toBeGreaterThan(row.position);
    expect(store.get(99)).toBeUndefined();
  });

  test('every field that changes comes back as it was written, and no other changes', () => {
    const store = make();
    const other = store.insert(job());
    const before = store.insert(job());
    const change: JobChange = {
      ...{ state: 'failed', priority: -3, position: 17, attempts: 2, crashes: 1, runSeconds: 1.25, startedAt: 5, finishedAt: 6 },
      progress: { step: 's', stage: '', fraction: 0.5, etaSeconds: 3 },
      error: { code: 'DISK_FULL', message: 'm', fields: { file: 'f', list: ['a'] } },
      result: { n: 1 },
    };
    store.update(before.id, change);
    expect(store.get(before.id)).toEqual({ ...before, ...change });
    store.update(before.id, { progress: null, error: null, result: null, startedAt: null, finishedAt: null });
    expect(store.get(before.id)).toMatchObject({ progress: null, error: null, result: null, startedAt: null, position: 17 });
    expect(store.get(other.id)).toEqual(other);
  });

  test('ids are never given twice, not even those of removed jobs', () => {
    const store = make();
    store.insert(job());
    const last = store.insert(job()).id;
    store.remove(last);
    expect(store.insert(job()).id).toBe(last + 1);
  });

  test('order is by priority, then position', () => {
    const store = make();
    for (const priority of [0, 5, 0, 5, -1]) store.insert(job({ priority }));
    expect(ids(store.list())).toEqual([2, 4, 1, 3, 5]);
    store.update(4, { position: 0 });
    expect(ids(store.list())).toEqual([4, 2, 1, 3, 5]);
    expect(store.lastPosition()).toBe(6);
  });

  test('ended jobs are behind, the latest first; filters and pages', () => {
    const store = make();
    for (const [i, state] of (['done', 'waiting', 'failed', 'running', 'cancelled', 'paused'] as const).entries()) {
      const { id } = store.insert(job({ priority: i, kind: i % 2 ? 'odd' : 'even' }));
      store.update(id, { state });
    }
    expect(ids(store.list())).toEqual([6, 4, 2, 5, 3, 1]);
    expect(ids(store.list({ limit: 2, offset: 1 }))).toEqual([4, 2]);
    expect(ids(store.list({ states: ['done', 'running', 'cancelled'] }))).toEqual([4, 5, 1]);
    expect(ids(store.list({ kinds: ['odd'], states: ['running', 'paused', 'done'], limit: 1 }))).toEqual([6]);
    expect([store.list({ states: [] }), store.list({ kinds: ['none'] }), store.list({ offset: 6 })]).toEqual([[], [], []]);
    expect(store.removeAll(['failed', 'done']).sort()).toEqual([1, 3]);
    expect(ids(store.list())).toEqual([6, 4, 2, 5]);
  });

  test('next is the first that waits in its lane', () => {
    const store = make();
    store.insert(job({ lane: 'engine' }));
    store.insert(job());
    store.insert(job({ priority: 1 }));
    expect(store.next('light')?.id).toBe(3);
    store.update(3, { state: 'running' });
    expect(store.next('light')?.id).toBe(2);
    store.update(2, { state: 'paused' });
    expect(store.next('light')).toBeUndefined();
    expect(store.next('engine')?.id).toBe(1);
    expect(store.next('download')).toBeUndefined();
  });

  test('the first that waits after so many crashes, in any lane', () => {
    const store = make();
    for (const [i, crashes] of [0, 1, 2, 2, 3].entries()) {
      const { id } = store.insert(job({ lane: i % 2 ? 'light' : 'engine', priority: i }));
      store.update(id, { crashes });
    }
    store.update(5, { state: 'paused' });
    expect([0, 1, 2, 3].map((crashes) => store.nextCrashed(crashes)?.id)).toEqual([4, 4, 4, undefined]);
    store.update(4, { crashes: 0 });
    expect([0, 2].map((crashes) => store.nextCrashed(crashes)?.id)).toEqual([3, 3]);
  });

  test('steps keep their order and their values; a step of the same key is replaced', () => {
    const store = make();
    const { id } = store.insert(job());
    const other = store.insert(job()).id;
    store.putStep(id, { key: 'b', value: 1 });
    store.putStep(id, { key: 'a', value: { x: [null] } });
    store.putStep(other, { key: 'a', value: 'of another' });
    expect(store.steps(id)).toEqual([{ key: 'b', value: 1 }, { key: 'a', value: { x: [null] } }]); // prettier-ignore
    store.putStep(id, { key: 'a', value: null });
    expect(store.step(id, 'a')).toEqual({ key: 'a', value: null });
    expect(store.step(id, 'c')).toBeUndefined();
    store.clearSteps(id);
    expect(store.steps(id)).toEqual([]);
    expect(store.steps(other)).toHaveLength(1);
  });

  test('a log keeps its last lines', () => {
    const store = make();
    const { id } = store.insert(job());
    store.transaction(() => {
      for (let i = 0; i < LOG_LINES + 20; i++) store.appendLog(id, { at: i, text: `line ${i}` });
    });
    const lines = store.log(id);
    expect(lines).toHaveLength(LOG_LINES);
    expect(lines[0]).toEqual({ at: 20, text: 'line 20' });
    expect(lines.at(-1)?.text).toBe(`line ${LOG_LINES + 19}`);
  });

  test('a line of a log keeps what it is made of', () => {
    const store = make();
    const { id } = store.insert(job());
    const error = new I2lError('IMAGE_INVALID', 'it is empty', { file: '/a.png' }, new Error('no bytes')).toShape();
    const line = { at: 1, text: 'Refused', note: { code: 'IMAGE_REFUSED' as const, fields: { file: '/a.png' }, error } };
    store.appendLog(id, line);
    expect(store.log(id)).toEqual([line]);
  });

  test('a removed job takes its steps and its log along', () => {
    const store = make();
    const { id } = store.insert(job());
    store.putStep(id, { key: 'a', value: 1 });
    store.appendLog(id, { at: 1, text: 'x' });
    store.remove(id);
    expect([store.get(id), store.steps(id), store.log(id)]).toEqual([undefined, [], []]);
  });

  test('a transaction that throws leaves nothing, and one within another goes with it', () => {
    const store = make();
    const { id } = store.insert(job());
    const fail = () =>
      store.transaction(() => {
        store.putStep(id, { key: 'a', value: 1 });
        store.transaction(() => store.update(id, { state: 'running' }));
        throw new Error('power cut');
      });
    expect(fail).toThrow('power cut');
    expect(store.get(id)?.state).toBe('waiting');
    expect(store.steps(id)).toEqual([]);
    expect(store.transaction(() => store.insert(job()).id)).toBe(id + 1);
  });

  test('the pause of the queue and the table of rates are kept', () => {
    const store = make();
    expect(store.paused()).toBe(false);
    store.setPaused(true);
    expect(store.paused()).toBe(true);
    store.setPaused(false);
    expect(store.paused()).toBe(false);
    expect([...store.rates()]).toEqual([]);
    store.putRate('cpu/a', 12.5);
    store.putRate('cpu/a', 13);
    store.putRate('cpu/b', 1e9);
    expect(Object.fromEntries(store.rates())).toEqual({ 'cpu/a': 13, 'cpu/b': 1e9 });
  });
}
