import { seamsOf } from './check-resumes.ts'
import type { EventData, JobEvent } from '../../src/contract/event.ts'
import { QUEUED_ID, SEAL_ID, START, entryId } from '../../src/contract/stream-id.ts'
import { fingerprint } from './check-readings.ts'
import type { JobEvidence, RestEvidence } from './evidence.ts'

/** Redis has kept everything. */
export const NOTHING_LOST: JobEvidence['lost'] = {
  acceptance: false,
  cancel: false,
  seal: false,
  readings: [],
}

const ACCEPTED_AT = 1_000_000
const DEADLINE_AT = ACCEPTED_AT + 60_000
const WORDS = [' The', ' river', ' keeps', ' the', ' moon', '.']

/** `queued`, as a producer writes it. */
export function queued(): JobEvent {
  const data = { digest: 'd', accepted_at: ACCEPTED_AT, deadline_at: DEADLINE_AT, queue_position: 0 }
  return { id: QUEUED_ID, event: 'queued', data }
}

/** `started` of the attempt with that number, whose epoch is that many seconds after the acceptance. */
export function started(
  attempt: number,
  nextToken = 0,
  resume?: EventData['started']['resume'],
): Extract<JobEvent, { event: 'started' }> {
  return {
    id: entryId(epochOf(attempt), 1),
    event: 'started',
    data: {
      attempt,
      engine: 'tgi',
      engine_version: '1+sim',
      pool_id: 'chaos',
      replica_id: 'sim-0',
      model_id: 'm',
      seed: 1,
      queue_time_ms: 5,
      determinism: 'best_effort',
      next_token: nextToken,
      ...(resume === undefined ? {} : { resume }),
    },
  }
}

function epochOf(attempt: number): number {
  return ACCEPTED_AT + attempt * 1000
}

/** Tokens `from` to below `to` of the one story there is, as an attempt writes them. */
export function tokens(attempt: number, from: number, to: number): Extract<JobEvent, { event: 'token' }>[] {
  return Array.from({ length: to - from }, (_, index) => {
    const i = from + index
    return {
      id: entryId(epochOf(attempt), 2 + index),
      event: 'token',
      data: { t: WORDS[i] ?? '', i, id: 100 + i, logprob: -1 },
    }
  })
}

/** The seal of a whole answer. */
export function end(change: Partial<EventData['end']> = {}): Extract<JobEvent, { event: 'end' }> {
  const data: EventData['end'] = {
    finish_reason: 'length',
    tokens_out: WORDS.length,
    queue_time_ms: 5,
    first_token_ms: 6,
    decode_time_ms: 7,
    seed: 1,
    text: WORDS.join(''),
    attempts: 1,
    exact: true,
    ...change,
  }
  return { id: SEAL_ID, event: 'end', data }
}

/** The seal of a job without its answer. */
export function error(
  code: EventData['error']['code'],
  change: Partial<EventData['error']> = {},
): Extract<JobEvent, { event: 'error' }> {
  const data = { code, message: 'm', retriable: false, engine: 'tgi' as const, pool_id: 'chaos', ...change }
  return { id: SEAL_ID, event: 'error', data }
}

/** A job with a stream that one consumer has read to its end, and about which all is well unless it is changed. */
export function job(events: readonly JobEvent[], change: Partial<JobEvidence> = {}): JobEvidence {
  const seen = events.map(fingerprint)
  return {
    jobId: 'j',
    body: { inputs: 'p', parameters: { max_new_tokens: WORDS.length } },
    events,
    readings: [{ consumer: 'c', after: START, seen, restarts: 0, over: true }],
    cancel: undefined,
    cancelAsked: false,
    undisturbed: { ids: WORDS.map((_, i) => 100 + i), text: WORDS.join('') },
    afterSeams: seamsOf(events).map(({ at }) => ({
      ids: WORDS.slice(at).map((_, i) => 100 + at + i),
      text: WORDS.slice(at).join(''),
    })),
    sealSeenAt: DEADLINE_AT + 100,
    maxAttempts: 3,
    noResume: false,
    lost: NOTHING_LOST,
    ...change,
  }
}

/** The stream of an answer that nothing has happened to. */
export function plainLog(): JobEvent[] {
  return [queued(), started(1), ...tokens(1, 0, WORDS.length), end()]
}

/** The stream of an answer that was interrupted after two tokens and went on. */
export function resumedLog(mode: 'continue' | 'replay'): JobEvent[] {
  const exact = mode === 'replay'
  const next = [started(2, 2, { mode, exact }), ...tokens(2, 2, WORDS.length), end({ attempts: 2, exact })]
  return [queued(), started(1), ...tokens(1, 0, 2), ...next]
}

/** One replica at rest. */
export function rest(change: Partial<RestEvidence> = {}): RestEvidence {
  return {
    simulators: [{ replicaId: 'sim-0', open: 0, running: 0, queued: 0, permits: 0 }],
    replicas: [
      {
        replica_id: 'sim-0',
        worker_id: 'w',
        url: 'http://127.0.0.1:1',
        state: 'ready',
        versions: null,
        slots: 6,
        slots_configured: 6,
        busy: 0,
        capabilities: [],
        updated_at: ACCEPTED_AT,
      },
    ],
    leases: [{ replicaId: 'sim-0', workerId: 'w' }],
    workers: ['w'],
    queued: 0,
    deadlines: 0,
    ...change,
  }
}
