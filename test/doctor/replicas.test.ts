import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import { describe, expect } from 'vitest'
import { examine } from '../../src/doctor/doctor.ts'
import { formatReport } from '../../src/doctor/format-report.ts'
import { judgeAddresses } from '../../src/doctor/shared-addresses.ts'
import type { ReplicaEntry } from '../../src/contract/replica-entry.ts'
import { KEYS, POOL, test } from '../support/lab.ts'
import { register } from '../metrics/stage.ts'
import { complaints, found, until } from './stage.ts'

describe('a replica', () => {
  test('that is ready is told with its lease, its worker and that it answers here', async ({ lab }) => {
    await lab.client()
    const replica = await lab.replica()
    const worker = await lab.worker(replica, { slots: 3 })
    const report = await until(lab.redisUrl, (seen) =>
      expect(found(seen, 'replica-state').value).toBe('ready'),
    )
    const subject = `replica ${POOL}/${worker.replicaId}`
    for (const check of ['replica-lease', 'replica-worker', 'replica-slots', 'replica-reachable'] as const)
      expect(found(report, check, subject).status).toBe('ok')
    const [seen] = report.pools[0]?.replicas ?? []
    expect(seen).toMatchObject({
      replica_id: worker.replicaId,
      worker_id: worker.workerId,
      url: replica.url,
      slots: 3,
      slots_configured: 3,
      busy: 0,
      lease: { holder: worker.workerId },
      reachable: true,
    })
    // Written on every beat, once a second.
    expect(seen?.age_ms).toBeLessThan(30_000)
    expect(seen?.lease?.ttl_ms).toBeGreaterThan(0)
  })

  test('that is not healthy is a fault that says why', async ({ lab }) => {
    await lab.client()
    const replica = await lab.replica({ faults: [{ kind: 'unhealthy' }] })
    await lab.worker(replica)
    const report = await until(lab.redisUrl, (seen) => {
      expect(found(seen, 'replica-state')).toMatchObject({
        status: 'fault',
        value: 'unhealthy',
        message: expect.stringMatching(/^unhealthy: .*is not healthy/),
        advice: `check the TGI server at ${replica.url} and its log`,
      })
    })
    expect(found(report, 'replica-reachable')).toMatchObject({
      status: 'warning',
      message: expect.stringMatching(/and its worker reports unhealthy$/),
    })
  })

  test('that wants another key is told with TGI_API_KEY, for the worker and for doctor', async ({ lab }) => {
    await lab.client()
    const replica = await lab.replica({ apiKey: 'the-key' })
    await lab.worker(replica, { apiKey: 'another-SECRET' })
    const report = await until(lab.redisUrl, (seen) =>
      expect(found(seen, 'replica-state')).toMatchObject({
        status: 'fault',
        value: 'unhealthy',
        message: expect.stringContaining('API key'),
      }),
    )
    expect(found(report, 'replica-state').advice).toMatch(/TGI_API_KEY \(or TGI_API_KEY_FILE\)/)
    expect(JSON.stringify(report)).not.toContain('SECRET')
  })

  test('gets the key only if its address was given', async ({ lab }) => {
    await lab.client()
    const replica = await lab.replica({ apiKey: 'the-key' })
    await lab.worker(replica, { apiKey: 'the-key' })
    const seen: string[] = []
    const listener = createServer((request, response) => {
      seen.push(`${request.url} ${request.headers.authorization}`)
      response.writeHead(401).end()
    })
    await once(listener.listen(0, '127.0.0.1'), 'listening')
    const url = `http://127.0.0.1:${(listener.address() as AddressInfo).port}`
    try {
      await register(lab, 'forged', url)
      const look = (apiKeyFor: readonly string[]) =>
        examine({ redisUrl: lab.redisUrl, apiKey: 'the-key', apiKeyFor })
      const report = await look([replica.url])
      expect(seen.toSorted()).toEqual(['/health undefined', '/info undefined'])
      const { advice } = found(report, 'replica-reachable', `replica ${POOL}/forged`)
      expect(advice).toContain(`TGI_API_KEY_FOR=${url}`)
      await look([url])
      expect(seen).toContain('/info Bearer the-key')
      await expect(look(['gpu-1:8080'])).rejects.toMatchObject({ kind: 'CONFIG' })
    } finally {
      await promisify(listener.close.bind(listener))()
    }
  })

  test('of which hostile words stand in the registry is told in one line, with commands that are harmless', async ({
    lab,
  }) => {
    await lab.client()
    const url = "http://127.0.0.1:1/$(touch${IFS}x);'`id`"
    const versions = {
      engine: 'tgi',
      engine_version: "3'; rm -rf x; '",
      model_id: 'm\n\u001b]52;c;aGk=\u0007',
      model_sha: null,
      max_total_tokens: 10,
    }
    await register(lab, 'hostile', url, { versions, state: 'unhealthy', reason: 'why\n\u202e\u009b2Jnot' })
    await register(lab, 'other', 'http://127.0.0.1:2')
    const report = await examine({ redisUrl: lab.redisUrl, replicaTimeoutMs: 500 })
    const text = formatReport(report)
    expect(text.split('\n').length - 1).toBe(
      report.findings.filter(({ status }) => status !== 'ok').length + 1,
    )
    expect(text.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u)
    expect(text).toContain(String.raw`why\n\u202e\u009b2Jnot`)
    expect(found(report, 'replica-reachable', `replica ${POOL}/hostile`).advice).toMatch(
      /^curl -i 'http:\/\/127\.0\.0\.1:1\/\$\(touch\$%7BIFS%7Dx\);'\\''%60id%60\/health'/,
    )
    const { advice = '' } = found(report, 'pool-versions')
    const command = advice.replace(/, with the values.*/, '').replace('tgi-pool', 'printf "%s\\n"')
    const { stdout } = await promisify(execFile)('/bin/sh', ['-c', command])
    expect(stdout.split('\n')).toEqual([
      'pool',
      'set',
      `pin={"engine_version":"3'; rm -rf x; '","model_id":"m"}`,
      '--pool',
      POOL,
      '',
    ])
  })

  test('that is not the pinned build is a fault', async ({ lab }) => {
    await lab.client({ pin: { model_id: 'another' } })
    await lab.worker(await lab.replica())
    await until(lab.redisUrl, (report) => {
      expect(found(report, 'replica-state')).toMatchObject({
        status: 'fault',
        message: expect.stringMatching(
          /^drifted: differs from the pool's pin: model_id: expected another, got /,
        ),
      })
    })
  })

  test('whose worker was killed is lost, with how to start it again or to forget it', async ({ lab }) => {
    await lab.client()
    const replica = await lab.replica()
    const doomed = await lab.process(replica, { leaseMs: 1000, replicaId: 'gone' })
    await until(lab.redisUrl, (report) => expect(found(report, 'replica-state').value).toBe('ready'))
    doomed.kill('SIGKILL')
    await doomed.exited
    const report = await until(lab.redisUrl, (seen) =>
      expect(found(seen, 'replica-state').value).toBe('lost'),
    )
    expect(found(report, 'replica-state')).toMatchObject({
      status: 'warning',
      advice: `tgi-pool worker --pool ${POOL} --replica ${replica.url} --replica-id gone; if it is gone for good: redis-cli HDEL '${KEYS.replicas}' gone`,
    })
    expect(report.pools).toMatchObject([{ replicas: [{ lease: null }] }])
    await lab.redis.hdel(KEYS.replicas, 'gone')
    expect((await examine({ redisUrl: lab.redisUrl })).pools).toMatchObject([{ replicas: [] }])
  })

  test('whose worker hangs is a warning as long as its lease lasts', async ({ lab }) => {
    await lab.client()
    const frozen = await lab.process(await lab.replica(), { leaseMs: 30_000 })
    await until(lab.redisUrl, (report) => expect(found(report, 'replica-state').value).toBe('ready'))
    frozen.kill('SIGSTOP')
    await until(lab.redisUrl, (report) => {
      expect(found(report, 'replica-worker')).toMatchObject({
        status: 'warning',
        message: expect.stringMatching(/^its worker last reported \d{4,} ms ago; expected every 1000 ms$/),
      })
    })
    frozen.kill('SIGCONT')
    await until(lab.redisUrl, (report) => expect(found(report, 'replica-worker').status).toBe('ok'))
  })

  test('whose lease never ends, or is another worker’s, is a fault', async ({ lab }) => {
    await lab.client()
    const worker = await lab.worker(await lab.replica(), { leaseMs: 60_000 })
    await until(lab.redisUrl, (report) => expect(found(report, 'replica-lease').status).toBe('ok'))
    await lab.redis.persist(KEYS.lease(worker.replicaId))
    const eternal = await examine({ redisUrl: lab.redisUrl })
    expect(found(eternal, 'replica-lease')).toMatchObject({
      status: 'fault',
      message: `the lease of worker ${worker.workerId} never expires, so no other worker can take over`,
      advice: `redis-cli DEL '${KEYS.lease(worker.replicaId)}'; its worker acquires it again`,
    })
    await lab.redis.set(KEYS.lease(worker.replicaId), 'another-worker', 'PX', 60_000)
    const stolen = await examine({ redisUrl: lab.redisUrl })
    expect(found(stolen, 'replica-lease')).toMatchObject({ value: 'another-worker' })
    expect(found(stolen, 'replica-lease').status).not.toBe('ok')
  })

  test('with more slots than it takes requests is a warning', async ({ lab }) => {
    await lab.client()
    await lab.worker(await lab.replica({ maxConcurrentRequests: 2 }), { slots: 5 })
    await until(lab.redisUrl, (report) => {
      expect(found(report, 'replica-slots')).toMatchObject({
        status: 'warning',
        message: '5 slots configured; the replica takes 2 requests at once: only 2 are used',
        advice: 'start the worker with --slots 2, or TGI with --max-concurrent-requests 5',
      })
    })
  })

  test('for which another worker stands by is one replica, and well', async ({ lab }) => {
    await lab.client()
    const replica = await lab.replica()
    await lab.worker(replica)
    await lab.worker(replica)
    await until(lab.redisUrl, (report) => {
      expect(complaints(report)).toEqual(['warning redis-persistence redis'])
      expect(found(report, 'replica-state').message).toBe('ready, 1 standing by')
    })
  })

  test('that is not reached from here though its worker says ready is a warning that says so', async ({
    lab,
  }) => {
    await lab.client()
    const replica = await lab.replica({ faults: [{ kind: 'hang-headers', path: '/nothing' }] })
    const worker = await lab.process(replica, { leaseMs: 60_000 })
    await until(lab.redisUrl, (report) => expect(found(report, 'replica-state').value).toBe('ready'))
    // Its last word stays: ready.
    worker.kill('SIGSTOP')
    await replica.stop()
    const report = await examine({ redisUrl: lab.redisUrl, replicaTimeoutMs: 500 })
    expect(found(report, 'replica-reachable')).toMatchObject({
      status: 'warning',
      message: expect.stringMatching(
        /^not reached from here \(.*ECONNREFUSED.*\), but its worker reaches it/,
      ),
      advice: `curl -i ${replica.url}/health, here and where the worker runs`,
    })
    expect(report.pools).toMatchObject([{ replicas: [{ state: 'ready', reachable: false }] }])
    worker.kill('SIGCONT')
  })

  test('that never answers does not keep us', async ({ lab }) => {
    await lab.client()
    const replica = await lab.replica({
      faults: ['/health', '/info'].map((path) => ({ kind: 'hang-headers', path }) as const),
    })
    await lab.worker(replica)
    const report = await examine({ redisUrl: lab.redisUrl, replicaTimeoutMs: 200 })
    expect(found(report, 'replica-reachable').message).toMatch(/did not answer within 200 ms/)
  })
})

describe('replicas of one pool', () => {
  test('that are not the same build are a warning unless the pin says which is right', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    await lab.worker(await lab.replica({ modelId: 'another/model', version: '3.3.5' }))
    const report = await until(lab.redisUrl, (seen) => {
      expect(found(seen, 'pool-versions')).toMatchObject({
        status: 'warning',
        message: expect.stringMatching(
          /differ in engine_version \(3\.3\.5\S*, 3\.3\.6\S*\) and model_id \(another\/model, simulated\/tiny-llm\);/,
        ),
      })
    })
    expect(found(report, 'pool-versions').advice).toMatch(
      /^tgi-pool pool set pin='\{"engine_version":"3\.3\.5[^"]*","model_id":"another\/model"\}' --pool \S+, with the values that are right$/,
    )
    await client.set({ pin: { engine_version: '3.3.5', model_id: 'simulated/tiny-llm' } })
    const pinned = await examine({ redisUrl: lab.redisUrl })
    expect(found(pinned, 'pool-versions').message).not.toMatch(/differ in/)
  })

  test('that are one server under two ids are told on both', async ({ lab }) => {
    await lab.client()
    const replica = await lab.replica()
    await lab.worker(replica, { replicaId: 'one', slots: 3 })
    await lab.worker({ url: replica.url.replace('127.0.0.1', 'localhost') }, { replicaId: 'two', slots: 4 })
    await until(lab.redisUrl, (report) => {
      expect(found(report, 'replica-address', `replica ${POOL}/one`)).toMatchObject({
        status: 'warning',
        message: `${replica.url} is also served as ${POOL}/two: 7 slots together, if that is one machine`,
      })
      expect(found(report, 'replica-address', `replica ${POOL}/two`).status).toBe('warning')
    })
  })

  test('that serve two pools are told on both, and on the one that is looked at', async ({ lab }) => {
    await lab.client()
    await lab.client({}, 'other')
    const replica = await lab.replica()
    await lab.worker(replica, { replicaId: 'r' })
    await lab.worker(replica, { replicaId: 'r', pool: 'other' })
    await until(lab.redisUrl, (report) => {
      expect(found(report, 'replica-address', `replica ${POOL}/r`).message).toContain(
        'also served as other/r',
      )
    })
    const one = await examine({ redisUrl: lab.redisUrl, pool: 'other' })
    expect(found(one, 'replica-address')).toMatchObject({ subject: 'replica other/r', status: 'warning' })
  })
})

/** A replica as the registry tells it. */
function entry(id: string, url: string, state: ReplicaEntry['state'] = 'ready'): ReplicaEntry {
  const rest = { slots: 4, slots_configured: 4, busy: 0, capabilities: [], updated_at: 0, versions: null }
  return { replica_id: id, worker_id: `worker of ${id}`, url, state, ...rest }
}

test.for([
  ['http://gpu-1:8080', 'http://gpu-1:8080/', 'fault'],
  ['http://GPU-1:8080', 'http://gpu-1:8080', 'fault'],
  ['https://gpu-1', 'https://gpu-1:443', 'fault'],
  ['http://gpu-1:8080', 'http://gpu-2:8080', 'ok'],
  ['http://gpu-1:8080/a', 'http://gpu-1:8080/b', 'ok'],
  ['http://127.0.0.1:8080', 'http://[::1]:8080', 'warning'],
] as const)('the addresses %s and %s are a %s', ([one, two, status]) => {
  const all = [one, two].map((url, index) => ({
    poolId: `p${index}`,
    entry: entry('r', url),
    standbys: 0,
    standbyUrls: [],
  }))
  expect(judgeAddresses(all).map((finding) => finding.status)).toEqual([status, status])
})

test('an address whose other worker is gone is nobody else’s', () => {
  const all = (['ready', 'lost'] as const).map((state) => ({
    poolId: state,
    entry: entry('r', 'http://gpu-1:8080', state),
    standbys: 0,
    standbyUrls: [],
  }))
  expect(judgeAddresses(all).map(({ status }) => status)).toEqual(['ok'])
})
