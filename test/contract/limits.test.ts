import { describe, expect, test } from 'vitest'
import { PoolError } from '../../src/contract/error.ts'
import { parseJob } from '../../src/contract/job.ts'
import { budgetOf, reservedSlots } from '../../src/contract/limits.ts'
import { DEFAULT_POOL_CONFIG, poolConfigSchema } from '../../src/contract/pool-config.ts'

describe('the deadline of a job', () => {
  test.for([
    [{}, {}, 600_000],
    [{ priority: 'batch' }, {}, 86_400_000],
    [{ priority: 'batch', deadline_ms: 5 }, {}, 5],
    [{}, { deadline_ms: 7 }, 7],
    [{ priority: 'batch' }, { batch_deadline_ms: 8 }, 8],
    // A pool whose longest is shorter than a default takes jobs that name none.
    [{ priority: 'batch' }, { max_deadline_ms: 3_600_000 }, 3_600_000],
    [{}, { max_deadline_ms: 1000 }, 1000],
  ] as const)('of %j in a pool with %j is %s ms', ([job, pool, expected]) => {
    const config = poolConfigSchema.parse(pool)
    expect(budgetOf(parseJob({ inputs: 'x', ...job }), config).deadlineMs).toBe(expected)
  })

  test.for(['interactive', 'batch'] as const)('that a %s job asks for has a limit', (priority) => {
    const job = parseJob({ inputs: 'x', priority, deadline_ms: DEFAULT_POOL_CONFIG.max_deadline_ms + 1 })
    expect(() => budgetOf(job, DEFAULT_POOL_CONFIG)).toThrow(/max_deadline_ms/)
  })
})

test.for([
  [null, 1, 0],
  [null, 3, 0],
  [null, 4, 1],
  [null, 64, 1],
  [0, 8, 0],
  [3, 8, 3],
  [8, 8, 7],
  [5, 1, 0],
  [5, 0, 0],
] as const)('with %s reserved, a replica of %s slots keeps %s', ([reserved, slots, kept]) => {
  expect(reservedSlots({ reserved_slots: reserved }, slots)).toBe(kept)
})

describe('DEADLINE_UNMET', () => {
  test('that refuses a call is for later', () => {
    expect(new PoolError('DEADLINE_UNMET', 'x')).toMatchObject({ status: 429, retriable: true })
  })

  test('that ended a job stays what it is', () => {
    expect(new PoolError('DEADLINE_UNMET', 'x', { ofJob: true })).toMatchObject({
      status: 504,
      retriable: false,
    })
  })
})
