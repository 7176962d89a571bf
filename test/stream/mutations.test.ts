import { expect } from 'vitest'
import { test } from '../support/redis.ts'
import { findViolation } from './property/check-modules.ts'
import { loadMutant } from './property/mutant.ts'
import type { Mutation } from './property/mutant.ts'

/** Each of these mistakes must be found by the property of event-log.property.test.ts, or it proves nothing. */
const MUTATIONS: Record<string, Mutation> = {
  'a script that does not look at the expected id': {
    file: 'stream/write.lua',
    text: `elseif expect ~= last then`,
    becomes: `elseif false then`,
  },
  'a script that does not look for the seal': {
    file: 'stream/write.lua',
    text: `if last == SEAL then return last end`,
    becomes: ``,
  },
  'a script that counts what it refuses': {
    file: 'stream/write.lua',
    text: `if last == SEAL then return last end`,
    becomes: `if last == SEAL then
  if KEYS[2] then redis.call('HINCRBY', KEYS[3], 'tokens:out', 1) end
  return last
end`,
  },
  'a cancel that does not count the tokens there were': {
    file: 'stream/change.ts',
    text: `data.tokens_out ?? PUBLISHED`,
    becomes: `data.tokens_out ?? 0`,
  },
  'a job that counts as started at each attempt': {
    file: 'stream/change.ts',
    text: `if (data.attempt !== 1) return undefined`,
    becomes: ``,
  },
  'a batch job that is not known as one': {
    file: 'stream/write.lua',
    text: `redis.call('ZADD', KEYS[4], 'inf', job)`,
    becomes: ``,
  },
  'a batch job without the time of its end': {
    file: 'stream/write.lua',
    text: `redis.call('ZADD', KEYS[4], 'XX', now + retention, job)`,
    becomes: ``,
  },
  'a finished job whose expiry the index does not note': {
    file: 'stream/write.lua',
    text: `redis.call('ZADD', KEYS[5], now + retention, job)`,
    becomes: ``,
  },
  'a worker that does not say that the job it begins is a batch job': {
    file: 'stream/change.ts',
    text: `{ state, priority: known,`,
    becomes: `{ state, priority: known === priority ? '' : known,`,
  },
  'epochs that count instead of following the clock': {
    file: 'contract/stream-id.ts',
    text: 'return nowUs > lastEpoch ? nowUs :',
    becomes: 'return lastEpoch + 1 > 0 ? lastEpoch + 1 :',
  },
  'a pick-up that writes over whatever is there': {
    file: 'attempt/pick-up.ts',
    text: 'expect: lastId(entries),',
    becomes: `expect: entries.length === 0 ? lastId(entries) : '*',`,
  },
  'a reader that does not look for its cursor': {
    file: 'stream/reader.ts',
    text: 'const { cursor, checked } = place',
    becomes: 'const { cursor } = place\n  const checked = (place.checked = cursor !== START)',
  },
  'a reader that goes on from a cursor that Redis has lost': {
    file: 'stream/reader.ts',
    text: 'if (cursor !== START && first?.id !== cursor) return undefined',
    becomes: 'if (cursor !== START && first?.id !== cursor) return { events, more }',
  },
  'a writer that never asks for its lock': {
    file: 'stream/attempt-writer.ts',
    text: 'if (!(await options.confirmLock()))',
    becomes: 'if (false)',
  },
  'a writer that takes its own landed write for a newer attempt': {
    file: 'stream/attempt-writer.ts',
    text: 'if (known > acked && !unsure)',
    becomes: 'if (known > acked)',
  },
  'a writer that takes every id of its epoch for its own': {
    file: 'stream/attempt-writer.ts',
    text: `if (known > acked && !unsure) return finish('fenced')`,
    becomes: 'if (known > acked) return void (acked = known)',
  },
  'a writer that does not compare what it reads back': {
    file: 'stream/attempt-writer.ts',
    text: 'if (!there.every((entry, index) => isSame(entry, entries[index])))',
    becomes: 'if (false)',
  },
  'a sweep that does not expect what it has read': {
    file: 'stream/deadline-sweep.ts',
    text: 'expect: last?.id ?? START,',
    becomes: `expect: '*',`,
  },
}

const RUNS = 3000

test('a copy with nothing wrong is not found, so that what is found is the mistake', async ({
  redis,
  onTestFinished,
}) => {
  const copy = await loadMutant({
    file: 'stream/reader.ts',
    text: 'const MAX_RESTARTS = 5',
    becomes: 'const MAX_RESTARTS = 5',
  })
  onTestFinished(() => copy.remove())
  const seed = Date.now() % 2 ** 31
  const options = { modules: copy.modules, url: redis.url, runs: 60, seed, name: 'copy', shrink: false }
  expect(await findViolation(options)).toBeUndefined()
})

test.for(Object.entries(MUTATIONS))('%s is found', async ([, mutation], { redis, onTestFinished }) => {
  const mutant = await loadMutant(mutation)
  onTestFinished(() => mutant.remove())
  const seed = Date.now() % 2 ** 31
  const violation = await findViolation({
    modules: mutant.modules,
    url: redis.url,
    runs: RUNS,
    seed,
    name: 'mutant',
    shrink: false,
  })
  expect(violation).toMatch(/^seed \d+, run \d+: \S/)
  if (process.env['PROPERTY_VERBOSE'] !== undefined)
    console.log(violation?.split('\n').slice(0, 2).join('\n'))
})
