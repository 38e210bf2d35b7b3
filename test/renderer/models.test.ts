import { describe, expect, test } from 'vitest';
import type { ModelView, VerifiedFile } from '../../main/contract/models.ts';
import type { JobState, JobView } from '../../main/contract/queue.ts';
import { CATALOGUE } from '../../main/weights/catalogue.ts';
import { en } from '../../renderer/src/i18n/en/index.ts';
import {
  bytesToCome,
  canDownload,
  jobOf,
  licencesOf,
  modelsOfInput,
  stateOf,
  type ModelJob,
  type RowState,
} from '../../renderer/src/views/models/model-view.ts';

const NONE: ReadonlyMap<string, VerifiedFile> = new Map();

function model(id: string, state: ModelView['state'], more: Partial<ModelView> = {}): ModelView {
  return { id, state, partialBytes: 0, missingBytes: 0, ...more } as ModelView;
}

function job(id: number, kind: string, state: JobState, step = ''): JobView {
  return { id, kind, state, progress: { step, stage: '' } } as JobView;
}

function here(more: object = {}): ModelView {
  const found = { files: ['/m/a'], synthetic: false, variant: 'published', ...more };
  return model('a', 'here', { found: found as unknown as NonNullable<ModelView['found']> });
}

describe('what is said of a model first', () => {
  const missing = model('a', 'missing');
  test.each<[RowState, ModelView, JobView | undefined]>([
    ['missing', missing, undefined],
    ['partial', model('a', 'partial'), undefined],
    ['queued', missing, job(1, 'download', 'waiting')],
    ['queued', missing, job(1, 'download', 'running', 'another')],
    ['downloading', missing, job(1, 'download', 'running', 'a')],
    ['paused', model('a', 'partial'), job(1, 'download', 'pausing', 'a')],
    ['failed', model('a', 'partial'), job(1, 'download', 'failed')],
    ['missing', missing, job(1, 'download', 'cancelled')],
    ['ready', here(), job(1, 'download', 'running', 'another')],
    ['verifying', here(), job(1, 'verify', 'running')],
    ['ready', here(), job(1, 'verify', 'done')],
    ['random', here({ synthetic: true, variant: 'other-sizes' }), undefined],
    ['sizes', here({ variant: 'other-sizes' }), undefined],
  ])('%s', (expected, view, of) => expect(stateOf(view, of, NONE)).toBe(expected));

  test('damage that a verification found', () => {
    const seen = new Map([['/m/a', { state: 'damaged' } as VerifiedFile]]);
    expect(stateOf(here(), undefined, seen)).toBe('damaged');
  });
});

test('the job that runs comes before those that ended, and of those the last counts', () => {
  const jobs: ModelJob[] = [
    { job: job(1, 'download', 'failed'), models: ['a'] },
    { job: job(2, 'download', 'cancelled'), models: ['a'] },
    { job: job(3, 'download', 'running'), models: ['b'] },
  ];
  expect(jobOf(model('a', 'missing'), jobs)?.id).toBe(2);
  expect(jobOf(model('b', 'missing'), [...jobs, { job: job(4, 'verify', 'done'), models: ['b'] }])?.id).toBe(3);
  expect(canDownload(model('a', 'missing'), jobs)).toBe(true);
  expect(canDownload(model('b', 'missing'), jobs)).toBe(false);
  expect(canDownload(here(), jobs)).toBe(false);
});

test('a verification of all is about those that are here', () => {
  const all: ModelJob[] = [{ job: job(1, 'verify', 'running'), models: modelsOfInput({ kind: 'verify' }) }];
  expect(jobOf(here(), all)?.id).toBe(1);
  expect(jobOf(model('a', 'missing'), all)).toBeUndefined();
  expect(modelsOfInput({ models: ['a', 7] })).toEqual(['a']);
});

test('a licence is asked for once, and one that needs no consent never', () => {
  const licence = (id: string, mustAccept: boolean): ModelView['licence'] => ({ id, title: id, url: '', mustAccept });
  const models = [licence('free', false), licence('own', true), licence('own', true)].map((of, at) =>
    model(String(at), 'missing', { licence: of, missingBytes: 5 }),
  );
  expect(licencesOf(models).map(({ id }) => id)).toEqual(['own']);
  expect(bytesToCome(models)).toBe(15);
});

test('every published model has a name in the dictionaries', () => {
  expect(Object.keys(en.models.names).sort()).toEqual(CATALOGUE.map(({ id }) => id).sort());
});
