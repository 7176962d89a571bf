import { expect, test } from 'vitest'
import { startSession } from '../../src/replica/session.ts'
import type { ProbeResult, SessionState } from '../../src/replica/session.ts'
import type { Pin } from '../../src/contract/pool-config.ts'
import type { Versions } from '../../src/contract/replica-entry.ts'

const versions: Versions = {
  engine: 'tgi',
  engine_version: '3.3.6-dev0+sha-1',
  model_id: 'm',
  model_sha: null,
  max_total_tokens: 4096,
}
const healthy: ProbeResult = { kind: 'healthy', versions }
const silent: ProbeResult = { kind: 'silent', reason: 'no answer within 3000 ms' }
const unhealthy: ProbeResult = { kind: 'unhealthy', reason: 'it says so' }

/** Follows a replica that answers these probes in order, then the last one for ever. */
async function statesFor(
  probes: readonly ProbeResult[],
  options: { pin?: Pin; lastActivity?: () => number; isPrefilling?: (since: number) => boolean } = {},
): Promise<SessionState[]> {
  const seen: SessionState[] = []
  let n = 0
  const done = Promise.withResolvers<void>()
  const session = startSession({
    probe: async () => {
      const probe = probes[n]
      n += 1
      if (probe === undefined) {
        done.resolve()
        return probes.at(-1) ?? healthy
      }
      return probe
    },
    pin: () => options.pin ?? {},
    lastActivity: options.lastActivity ?? (() => -Infinity),
    isPrefilling: options.isPrefilling ?? (() => false),
    onChange: (state) => seen.push(state),
    beatMs: 1,
  })
  await done.promise
  await session.stop()
  return seen
}

test('is ready once a probe found it healthy, and tells its versions', async () => {
  expect(await statesFor([healthy, healthy])).toEqual([{ state: 'ready', versions, reason: undefined }])
})

test('one unhealthy answer is enough, and it recovers with the next good one', async () => {
  const states = await statesFor([healthy, unhealthy, healthy])
  expect(states.map(({ state }) => state)).toEqual(['ready', 'unhealthy', 'ready'])
})

test('two silent probes in a row make it unhealthy, one does not', async () => {
  expect((await statesFor([healthy, silent, healthy])).map(({ state }) => state)).toEqual(['ready'])
  expect((await statesFor([healthy, silent, silent])).map(({ state }) => state)).toEqual([
    'ready',
    'unhealthy',
  ])
})

test('silence does not count while its tokens flow: a long prefill holds up its health route', async () => {
  const states = await statesFor([healthy, silent, silent, silent], { lastActivity: () => performance.now() })
  expect(states.map(({ state }) => state)).toEqual(['ready'])
})

test('a health check that waits behind a prefill of ours leaves it ready, and says so', async () => {
  const states = await statesFor([healthy, silent, silent, silent, healthy], { isPrefilling: () => true })
  expect(states).toEqual([
    { state: 'ready', versions, reason: undefined },
    { state: 'ready', versions, reason: 'health check is waiting behind a prefill' },
    { state: 'ready', versions, reason: undefined },
  ])
})

test('silence counts from the end of the prefill on', async () => {
  let waits = 2
  const states = await statesFor([healthy, silent, silent, silent, silent], {
    isPrefilling: () => (waits -= 1) >= 0,
  })
  expect(states.map(({ state }) => state)).toEqual(['ready', 'ready', 'unhealthy'])
})

test('one unhealthy answer is enough in a prefill, too', async () => {
  const states = await statesFor([healthy, silent, unhealthy], { isPrefilling: () => true })
  expect(states.map(({ state }) => state)).toEqual(['ready', 'ready', 'unhealthy'])
})

test('a prefill does not make a replica ready that is not', async () => {
  const states = await statesFor([unhealthy, silent, silent], { isPrefilling: () => true })
  expect(states.map(({ state }) => state)).not.toContain('ready')
})

test('a prefill that was given up is asked for since the last healthy probe began', async () => {
  const asked: number[] = []
  const before = performance.now()
  await statesFor([silent, healthy, silent], { isPrefilling: (since) => asked.push(since) < 0 })
  expect(asked.length).toBeGreaterThan(0)
  expect(Math.min(...asked)).toBeGreaterThanOrEqual(before)
})

test('a replica that was silent from the start is not ready', async () => {
  expect((await statesFor([silent])).map(({ state }) => state)).toEqual(['unhealthy'])
})

test.each([
  ['engine_version', { engine_version: '3.3.5' }],
  ['model_id', { model_id: 'other' }],
  ['model_sha', { model_sha: 'abc' }],
] satisfies [string, Pin][])(
  'a replica whose %s is not the pinned one has drifted, and says what differs',
  async (field, pin) => {
    const [state] = await statesFor([healthy], { pin })
    expect(state).toMatchObject({ state: 'drifted', reason: expect.stringContaining(field) as string })
  },
)

test('a replica that has drifted says every field that differs, with what was expected', async () => {
  const [state] = await statesFor([healthy], {
    pin: { engine_version: '3.3.5', model_id: 'm', model_sha: 'abc' },
  })
  expect(state?.reason).toBe(
    `differs from the pool's pin: engine_version: expected 3.3.5, got ${versions.engine_version}; model_sha: expected abc, got null`,
  )
})

test('a pin that fits changes nothing', async () => {
  const pin = { engine_version: versions.engine_version, model_id: 'm', model_sha: null }
  expect((await statesFor([healthy], { pin })).map(({ state }) => state)).toEqual(['ready'])
})

test('a probe that throws is a reason not to be ready, not an end of the session', async () => {
  const states: SessionState[] = []
  let n = 0
  const session = startSession({
    probe: async () => {
      n += 1
      if (n === 1) throw new Error('broken probe')
      return healthy
    },
    pin: () => ({}),
    lastActivity: () => -Infinity,
    isPrefilling: () => false,
    onChange: (state) => states.push(state),
    beatMs: 1,
  })
  await expect.poll(() => states.map(({ state }) => state)).toEqual(['unhealthy', 'ready'])
  await session.stop()
  await session.stop()
})
