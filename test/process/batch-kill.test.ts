import { expect, test } from 'vitest'
import { surviveKills } from './batch-survives.ts'

/** Set to run the whole measurement: 5000. */
const LINES = Number(process.env['BATCH_LINES'] ?? 600)

test('a batch survives the deaths of its command, a worker and Redis: each line once', async () => {
  const seen = await surviveKills(LINES)
  expect(seen).toMatchObject({ records: LINES, linesSeen: LINES, idsSeen: LINES, errors: 0, status: 0 })
  // Nothing is left of any job, but what a crash of Redis brought back.
  expect(seen.redis.jobKeys).toBeLessThanOrEqual(2)
}, 600_000)
