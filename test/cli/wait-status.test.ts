import { describe, expect, test } from 'vitest'
import { formatDuration } from '../../src/cli/format-duration.ts'
import { summarize } from '../../src/cli/generate-summary.ts'
import { describeWait } from '../../src/cli/wait-status.ts'
import type { WaitFacts } from '../../src/cli/wait-status.ts'
import { endData } from '../stream/entries.ts'

const ready = { replica_id: 'a', state: 'ready', busy: 2, slots: 2 } as const
const facts: WaitFacts = {
  pool: 'p',
  runsOn: undefined,
  ahead: 3,
  predictedStartMs: undefined,
  replicas: [ready],
}

describe('what a job waits for', () => {
  test.for<[change: Partial<WaitFacts>, waitedMs: number, text: string]>([
    [{}, 0, '1 of 1 ready replicas are busy with other jobs; at most 3 jobs ahead'],
    [{ ahead: 1 }, 0, '1 of 1 ready replicas are busy with other jobs; at most 1 job ahead'],
    [
      { ahead: 0, replicas: [ready, { ...ready, busy: 1 }] },
      0,
      '1 of 2 ready replicas are busy with other jobs; next in the queue',
    ],
    [
      { predictedStartMs: 90_000 },
      5000,
      '1 of 1 ready replicas are busy with other jobs; at most 3 jobs ahead, start expected in 1 min 25 s',
    ],
    [
      { predictedStartMs: 4000 },
      5000,
      '1 of 1 ready replicas are busy with other jobs; at most 3 jobs ahead',
    ],
    [{ runsOn: 'a' }, 0, 'running on a, no token yet'],
    [{ replicas: [] }, 0, 'pool p has no replicas; start a worker'],
    [
      {
        replicas: [
          { ...ready, state: 'unhealthy', reason: 'HTTP 503' },
          { ...ready, state: 'lost' },
        ],
      },
      0,
      'no replica of pool p is ready: a is unhealthy (HTTP 503); a is lost',
    ],
  ])('%j after %d ms', ([change, waitedMs, text]) => {
    expect(describeWait({ ...facts, ...change }, waitedMs)).toBe(text)
  })
})

describe('the summary of an answer', () => {
  test('has all that is known', () => {
    const end = { ...endData(11), queue_time_ms: 1500, ttft_ms: 31, decode_time_ms: 200, attempts: 2 }
    expect(summarize(end, 'gpu-1')).toBe(
      '11 tokens, 50.0 tokens/s, queued 1.5 s, time to first token 31 ms, replica gpu-1, 2 attempts',
    )
  })

  test('leaves out what is not', () => {
    const { decode_time_ms: _, ...end } = endData(1)
    expect(summarize(end, undefined)).toBe('1 token, queued 0 ms, 1 attempt')
  })
})

test.for<[ms: number, text: string]>([
  [0, '0 ms'],
  [999, '999 ms'],
  [1000, '1.0 s'],
  [61_000, '1 min 1 s'],
  [7_800_000, '2 h 10 min'],
])('%d ms is %s', ([ms, text]) => {
  expect(formatDuration(ms)).toBe(text)
})
