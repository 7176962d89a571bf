import { readFile } from 'node:fs/promises'
import { describe, expect } from 'vitest'
import { poolKeys } from '../../src/contract/keys.ts'
import { createOwnFamilies } from '../../src/metrics/own-families.ts'
import { collect, endOf } from '../support/job-log.ts'
import { KEYS, POOL } from '../support/lab.ts'
import { freePort } from '../../src/redis/server.ts'
import { health, labelOf, register, scrape, test } from './stage.ts'

const CANARY = 'xylophonequartz'

const GOOD = '# HELP tgi_queue_size Queue\n# TYPE tgi_queue_size gauge\ntgi_queue_size 7\n'

describe('the families of replicas', () => {
  test('of real workers stand under one HELP and TYPE, told apart by labels', async ({ lab, stage }) => {
    const client = await lab.client()
    for (const [index, dockerLabel] of ['one', 'two'].entries()) {
      const replica = await lab.replica({ dockerLabel })
      const worker = await lab.worker(replica, { replicaId: `gpu-${index}` })
      await expect.poll(() => worker.state).toBe('ready')
    }
    const jobs = Array.from({ length: 20 }, () =>
      client.enqueue({ inputs: 'hi', parameters: { max_new_tokens: 3 } }),
    )
    for (const { job_id: jobId } of await Promise.all(jobs)) endOf(await collect(client, jobId))
    const server = await stage.serve()
    await expect
      .poll(
        async () =>
          (await scrape(server)).samples('tgi_pool_replica_info', { model_id: 'simulated/tiny-llm' }).length,
      )
      .toBe(2)
    const told = await scrape(server)
    const counts = told.samples('tgi_request_count')
    expect(counts.map(({ labels }) => Object.fromEntries(labels))).toEqual(
      ['one', 'two'].map((build, index) => ({
        engine: 'tgi',
        engine_version: `3.3.6-dev0+${build}`,
        pool_id: POOL,
        replica_id: `gpu-${index}`,
        model_id: 'simulated/tiny-llm',
      })),
    )
    expect(counts.reduce((sum, { value }) => sum + Number(value), 0)).toBe(20)
    for (const what of ['HELP', 'TYPE']) {
      const names = [...told.text.matchAll(new RegExp(`^# ${what} (\\S+)`, 'gm'))].map(([, name]) => name)
      expect(names.length).toBeGreaterThan(10)
      expect(names).toEqual([...new Set(names)])
    }
    const buckets = told.samples('tgi_request_duration_bucket', { replica_id: 'gpu-1' })
    expect(buckets).toHaveLength(36)
    expect(buckets[0]?.labels.at(-1)).toEqual(['le', '0.00015000000000000001'])
    expect(told.value('tgi_pool_slots', { replica_id: 'gpu-0' })).toBe(8)
    expect(told.value('tgi_pool_replica_state', { replica_id: 'gpu-0', state: 'ready' })).toBe(1)
    expect(told.value('tgi_pool_replica_scrape_success', { replica_id: 'gpu-1' })).toBe(1)
    expect(told.value('tgi_pool_redis_up')).toBe(1)
  })

  test('are there although other replicas are dead, slow, cut off, huge or talk nonsense', async ({
    lab,
    stage,
  }) => {
    await lab.client()
    const silent = await stage.stand(() => undefined)
    const dripping = await stage.stand((response) => void response.writeHead(200).write(GOOD))
    const cut = await stage.stand((response) => {
      response.writeHead(200, { 'content-length': 500 }).write(GOOD, () => response.destroy())
    })
    const bad = {
      dead: `http://127.0.0.1:${await freePort()}`,
      silent: silent.url,
      dripping: dripping.url,
      cut: cut.url,
      half: (await stage.tell(`${GOOD}tgi_batch_current_si`)).url,
      page: (await stage.tell('<!doctype html><title>Hello</title>\n')).url,
      refused: (await stage.tell('no', 500)).url,
      huge: (await stage.tell(`${GOOD}# ${'x'.repeat(5 * 1024 * 1024)}\n`)).url,
      nonsense: 'not an address',
    }
    for (const [id, url] of Object.entries(bad)) await register(lab, id, url)
    await register(lab, 'good-0', (await stage.tell(GOOD)).url)
    await register(lab, 'good-1', (await stage.tell(GOOD)).url)
    const server = await stage.serve({ replicaTimeoutMs: 700 })
    const told = await scrape(server)
    expect(
      told.samples('tgi_queue_size').map((sample) => [labelOf(sample, 'replica_id'), sample.value]),
    ).toEqual([
      ['good-0', '7'],
      ['good-1', '7'],
    ])
    const success = told.samples('tgi_pool_replica_scrape_success')
    expect(
      Object.fromEntries(success.map((sample) => [labelOf(sample, 'replica_id'), sample.value])),
    ).toEqual({
      ...Object.fromEntries(Object.keys(bad).map((id) => [id, '0'])),
      'good-0': '1',
      'good-1': '1',
    })
    const seconds = told.value('tgi_pool_replica_scrape_duration_seconds', { replica_id: 'silent' })
    expect(seconds).toBeGreaterThan(0.69)
    await expect.poll(() => silent.open + dripping.open).toBe(0)
  })

  test('of a replica with a bad line are the others, and the line is counted', async ({ lab, stage }) => {
    await lab.client()
    await register(lab, 'bad-line', (await stage.tell(`${GOOD}a one\n`)).url)
    const told = await scrape(await stage.serve())
    const of = { replica_id: 'bad-line' }
    expect(told.value('tgi_queue_size', of)).toBe(7)
    expect(told.value('tgi_pool_replica_scrape_success', of)).toBe(1)
    expect(told.value('tgi_pool_replica_scrape_dropped_samples', { ...of, reason: 'malformed' })).toBe(1)
  })

  test('of a replica with too many series are its smaller families, and the others are untouched', async ({
    lab,
    stage,
  }) => {
    await lab.client()
    const many = await lab.replica({ faults: [{ kind: 'many-series', count: 20_000 }] })
    const body = JSON.stringify({ inputs: 'x', parameters: { max_new_tokens: 1 } })
    await fetch(`${many.url}/generate`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json' },
    })
    await register(lab, 'many', many.url)
    await register(lab, 'endless', (await stage.tell('b{n="1"} 1\n'.repeat(1_000_000))).url)
    await register(lab, 'good', (await stage.tell(GOOD)).url)
    const server = await stage.serve()
    await scrape(server)
    const told = await scrape(server)
    expect(told.samples('many_series')).toEqual([])
    expect(told.value('tgi_request_count', { replica_id: 'many' })).toBe(1)
    expect(told.value('tgi_queue_size', { replica_id: 'good' })).toBe(7)
    const dropped = (id: string) =>
      told.value('tgi_pool_replica_scrape_dropped_samples', { replica_id: id, reason: 'limit' })
    expect([dropped('many'), dropped('good'), dropped('endless')]).toEqual([20_000, 0, 0])
    expect(told.value('tgi_pool_replica_scrape_success', { replica_id: 'many' })).toBe(1)
    expect(told.value('tgi_pool_replica_scrape_success', { replica_id: 'endless' })).toBe(0)
    expect(told.text.length).toBeLessThan(1_000_000)
    expect(
      stage.lines.filter((line) => line.includes('left out the largest families, many_series')),
    ).toHaveLength(1)
  })

  test('have labels that are no longer than a worker writes them', async ({ lab, stage }) => {
    await lab.client()
    const long = 'm'.repeat(100_000)
    const versions = {
      engine: 'tgi',
      engine_version: long,
      model_id: long,
      model_sha: null,
      max_total_tokens: 10,
    }
    await register(lab, 'r', (await stage.tell(GOOD)).url, { versions })
    const told = await scrape(await stage.serve())
    expect(told.value('tgi_queue_size', { replica_id: 'r', model_id: long.slice(0, 512) })).toBe(7)
    expect(told.text.length).toBeLessThan(100_000)
  })

  test('that a replica failed to tell are logged once, and once more when they are back', async ({
    lab,
    stage,
  }) => {
    await lab.client()
    let works = false
    const { url } = await stage.stand((response) => void response.writeHead(works ? 200 : 500).end(GOOD))
    await register(lab, 'r', url)
    const server = await stage.serve()
    for (let n = 0; n < 3; n += 1) await scrape(server)
    works = true
    for (let n = 0; n < 3; n += 1) await scrape(server)
    expect(
      stage.lines.filter(
        (line) => line.includes('scrape failed') && line.includes(`"source":"replica ${POOL}/r"`),
      ),
    ).toHaveLength(1)
    expect(stage.lines.filter((line) => line.includes('scrape recovered'))).toHaveLength(1)
  })

  test('have labels of ours of the same name exported, and conflicts counted', async ({ lab, stage }) => {
    await lab.client()
    const first = '# TYPE a counter\na{pool_id="theirs",model_id="x"} 1\n'
    const second = '# TYPE a gauge\na 1\na{x="1"} 2\n# TYPE tgi_pool_jobs gauge\ntgi_pool_jobs 99\n'
    await register(lab, 'r0', (await stage.tell(first)).url)
    await register(lab, 'r1', (await stage.tell(second)).url)
    await register(
      lab,
      'r2',
      (await stage.tell('# TYPE process_cpu_seconds_total gauge\nprocess_cpu_seconds_total 1\n')).url,
    )
    const told = await scrape(await stage.serve())
    expect(told.samples('a').map(({ labels }) => Object.fromEntries(labels))).toEqual([
      expect.objectContaining({
        pool_id: POOL,
        replica_id: 'r0',
        model_id: 'm',
        exported_pool_id: 'theirs',
        exported_model_id: 'x',
      }),
    ])
    const dropped = (replica: string, reason: string) =>
      told.value('tgi_pool_replica_scrape_dropped_samples', { replica_id: replica, reason })
    expect(dropped('r0', 'type')).toBe(0)
    expect(dropped('r1', 'type')).toBe(2)
    expect(dropped('r1', 'reserved')).toBe(1)
    // This process's own TYPE is there before any replica's.
    expect(dropped('r2', 'type')).toBe(1)
    expect(told.samples('tgi_pool_jobs').map(({ value }) => value)).not.toContain('99')
    expect(told.samples('process_cpu_seconds_total')).toHaveLength(1)
  })

  test('of a replica that stands in our own families, too, stand with ours', async ({ lab, stage }) => {
    await lab.client()
    await register(
      lab,
      'r',
      (await stage.tell('# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 5\n')).url,
    )
    const told = await scrape(await stage.serve())
    expect(told.value('process_cpu_seconds_total', { replica_id: 'r' })).toBe(5)
    expect(told.samples('process_cpu_seconds_total')).toHaveLength(2)
    expect(told.text.match(/# TYPE process_cpu_seconds_total /g)).toHaveLength(1)
  })

  test('are gone with their replica', async ({ lab, stage }) => {
    await lab.client()
    const server = await stage.serve()
    await register(lab, 'r', (await stage.tell(GOOD)).url)
    expect((await scrape(server)).text).toContain('replica_id="r"')
    await lab.redis.hdel(KEYS.replicas, 'r')
    expect((await scrape(server)).text).not.toContain('replica_id="r"')
  })

  test('are asked for with the key, and the key stands nowhere', async ({ lab, stage }) => {
    await lab.client()
    const asked = await stage.stand((response, { headers }) => {
      const isRight = headers.authorization === `Bearer ${CANARY}`
      response.writeHead(isRight ? 200 : 401, { 'content-type': 'text/plain' }).end(GOOD)
    })
    const echo = await stage.stand((response, { headers }) => {
      response.writeHead(500, { 'content-type': 'text/plain' }).end(`you said ${headers.authorization}`)
    })
    await register(lab, 'r', asked.url)
    await register(lab, 'echo', echo.url)
    const server = await stage.serve({ apiKey: CANARY, apiKeyFor: [asked.url, `${echo.url}/`] })
    const told = await scrape(server)
    expect(told.value('tgi_queue_size', { replica_id: 'r' })).toBe(7)
    expect(told.text + stage.lines.join('')).not.toContain(CANARY)
    expect(stage.lines.join('')).toContain('withheld')
  })

  test('are asked for without the key where its address was not given', async ({ lab, stage }) => {
    await lab.client()
    const seen: (string | undefined)[] = []
    const listen = async () => {
      const { url } = await stage.stand((response, { headers }) => {
        seen.push(headers.authorization)
        response.writeHead(200, { 'content-type': 'text/plain' }).end(GOOD)
      })
      return url
    }
    const [given, forged] = await Promise.all([listen(), listen()])
    const redirecting = await stage.stand((response) =>
      response.writeHead(307, { location: `${forged}/metrics` }).end(),
    )
    const { port } = new URL(given)
    await register(lab, 'forged', forged)
    await register(lab, 'path', `${given}/elsewhere`)
    await register(lab, 'name', `http://localhost:${port}`)
    await register(lab, 'redirecting', redirecting.url)
    const server = await stage.serve({ apiKey: CANARY, apiKeyFor: [given, redirecting.url] })
    await scrape(server)
    expect(seen).toEqual([undefined, undefined, undefined])
    await register(lab, 'given', given)
    await scrape(server)
    expect(seen.filter((header) => header !== undefined)).toEqual([`Bearer ${CANARY}`])
  })

  test('hold no prompt and no answer', async ({ lab, stage }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    const { job_id: jobId } = await client.enqueue({
      inputs: `${CANARY} please`,
      parameters: { max_new_tokens: 20 },
    })
    const { text } = endOf(await collect(client, jobId))
    await client.enqueue({ inputs: CANARY, parameters: { top_k: -5 } }).catch(() => undefined)
    const told = await scrape(await stage.serve())
    expect(told.text).toContain('tgi_request_count')
    expect(told.text).not.toContain(CANARY)
    expect(told.text).not.toContain(text.trim())
  })
})

describe('replicas', () => {
  test('that are lost, stood by for or never reached are told as such', async ({ lab, stage }) => {
    await lab.client()
    const { url } = await stage.tell(GOOD)
    await register(lab, 'lost', url)
    await lab.redis.del(KEYS.lease('lost'))
    await register(lab, 'new', url, { state: 'unhealthy', versions: null, slots: 0, busy: 0 })
    const [, now] = [await lab.redis.hget(KEYS.replicas, 'new'), Number((await lab.redis.time())[0]) * 1000]
    const spare = JSON.parse((await lab.redis.hget(KEYS.replicas, 'lost')) ?? '') as object
    const standby = {
      ...spare,
      replica_id: 'new',
      worker_id: 'w2',
      state: 'standby',
      slots: 0,
      busy: 0,
      updated_at: now,
    }
    await lab.redis.hset(KEYS.replicas, 'new@w2', JSON.stringify(standby))
    const told = await scrape(await stage.serve())
    expect(told.value('tgi_pool_replica_state', { replica_id: 'lost', state: 'lost' })).toBe(1)
    expect(told.value('tgi_pool_replica_state', { replica_id: 'lost', state: 'ready' })).toBe(0)
    expect(told.value('tgi_pool_slots', { replica_id: 'lost' })).toBe(0)
    expect(told.value('tgi_pool_slots_busy', { replica_id: 'lost' })).toBe(0)
    expect(told.value('tgi_pool_replica_standbys', { replica_id: 'lost' })).toBe(0)
    expect(told.value('tgi_pool_replica_state', { replica_id: 'new', state: 'unhealthy' })).toBe(1)
    expect(told.value('tgi_pool_replica_standbys', { replica_id: 'new' })).toBe(1)
    expect(told.samples('tgi_queue_size', { replica_id: 'new' })[0]?.labels).toEqual([
      ['pool_id', POOL],
      ['replica_id', 'new'],
    ])
  })
})

describe('a metrics server', () => {
  test('tells of every pool, and of one that cannot be read that it cannot', async ({ lab, stage }) => {
    await lab.client()
    await lab.client({}, 'other')
    await lab.client({}, 'broken')
    await lab.redis.set(poolKeys('broken').replicas, 'no hash')
    await lab.redis.sadd(KEYS.pools, 'No Pool{}')
    const told = await scrape(await stage.serve())
    const readable = told
      .samples('tgi_pool_read_success')
      .map((sample) => [labelOf(sample, 'pool_id'), sample.value])
    expect(readable).toEqual([
      ['broken', '0'],
      ['lab', '1'],
      ['other', '1'],
    ])
    expect(told.value('tgi_pool_oldest_wait_seconds', { pool_id: 'other' })).toBe(0)
    expect(told.samples('tgi_pool_jobs', { pool_id: 'broken' })).toEqual([])
  })

  test('keeps to its prefix', async ({ lab, stage }) => {
    await lab.client()
    const told = await scrape(await stage.serve({ prefix: 'elsewhere' }))
    expect(told.value('tgi_pool_redis_up')).toBe(1)
    expect(told.samples('tgi_pool_read_success')).toEqual([])
  })

  test('asks replicas once for all who ask at once, and again later', async ({ lab, stage }) => {
    await lab.client()
    const gate = Promise.withResolvers<void>()
    const replica = await stage.stand(
      (response) => void gate.promise.then(() => response.writeHead(200).end(GOOD)),
    )
    await register(lab, 'r', replica.url)
    const server = await stage.serve({ cacheMs: 60_000 })
    const first = scrape(server)
    await expect.poll(() => replica.asked).toBe(1)
    const second = scrape(server)
    gate.resolve()
    expect((await first).text).toBe((await second).text)
    expect((await scrape(server)).text).toBe((await first).text)
    expect(replica.asked).toBe(1)
    const impatient = await stage.serve({ cacheMs: 0 })
    for (let n = 0; n < 3; n += 1) await scrape(impatient)
    expect(replica.asked).toBe(4)
  })

  test('answers as the text format is called, and nothing else where nothing is', async ({ stage }) => {
    const { url } = await stage.serve()
    const answer = await fetch(`${url}/metrics`, { headers: { connection: 'close' } })
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    await answer.body?.cancel()
    const none = await fetch(`${url}/nothing`, { headers: { connection: 'close' } })
    expect(none.status).toBe(404)
    await none.body?.cancel()
    expect(await health(url, '/livez')).toEqual({ status: 200, body: { status: 'ok' } })
    expect(await health(url, '/readyz')).toEqual({ status: 200, body: { status: 'ready' } })
  })

  test('says that Redis is away, goes on telling of itself, and comes back with it', async ({
    lab,
    stage,
    proxy,
  }) => {
    await lab.client()
    const server = await stage.serve({ redisUrl: proxy.url })
    expect((await scrape(server)).value('tgi_pool_read_success', { pool_id: POOL })).toBe(1)
    for (const trouble of ['stall', 'cut'] as const) {
      proxy[trouble]()
      const told = await scrape(server)
      expect(told.value('tgi_pool_redis_up')).toBe(0)
      expect(told.samples('tgi_pool_read_success')).toEqual([])
      expect(told.value('process_resident_memory_bytes')).toBeGreaterThan(0)
      expect(await health(server.url, '/livez')).toMatchObject({ status: 200 })
      expect(await health(server.url, '/readyz')).toEqual({
        status: 503,
        body: { status: 'not ready', reason: 'Redis does not answer' },
      })
      proxy.pass()
      await expect.poll(async () => (await scrape(server)).value('tgi_pool_redis_up')).toBe(1)
      await expect.poll(async () => (await health(server.url, '/readyz')).status).toBe(200)
    }
  })

  test('ends while replicas keep it waiting, at once', async ({ lab, stage }) => {
    await lab.client()
    const silent = await stage.stand(() => undefined)
    await register(lab, 'r', silent.url)
    // It would outlast the test, were it waited for.
    const server = await stage.serve({ replicaTimeoutMs: 600_000 })
    const asked = scrape(server)
    await expect.poll(() => silent.asked).toBe(1)
    await Promise.all([server.close(), server.close()])
    expect((await asked).value('tgi_pool_replica_scrape_success')).toBe(0)
    await expect.poll(() => silent.open).toBe(0)
  })

  test.for([
    { name: 'no Redis there', options: { redisUrl: 'redis://127.0.0.1:1' }, kind: 'REDIS_UNAVAILABLE' },
    { name: 'an address of Redis that is none', options: { redisUrl: 'http://x' }, kind: 'CONFIG' },
    { name: 'a host that is not here', options: { host: '203.0.113.1' }, kind: 'CONFIG' },
  ])('cannot start, given $name, and leaves nothing open', async ({ options, kind }, { stage }) => {
    await expect(stage.serve(options)).rejects.toMatchObject({ kind })
  })

  test('cannot start on a port that is taken', async ({ stage }) => {
    const { port } = await stage.serve()
    await expect(stage.serve({ port })).rejects.toMatchObject({
      kind: 'CONFIG',
      message: expect.stringContaining(`127.0.0.1:${port}`),
    })
  })
})

describe('our own families', () => {
  test('have HELP, a TYPE of the format and base units', async () => {
    const own = createOwnFamilies()
    const families = await own.describe({ pools: [], replicas: [] })
    expect(new Map(families.map(({ name, type }) => [name, type]))).toEqual(own.types)
    const ours = families.filter(({ name }) => name.startsWith('tgi_pool_'))
    expect(ours.map(({ name }) => name)).toMatchInlineSnapshot(`
      [
        "tgi_pool_redis_up",
        "tgi_pool_read_success",
        "tgi_pool_jobs",
        "tgi_pool_jobs_kept",
        "tgi_pool_oldest_wait_seconds",
        "tgi_pool_replica_info",
        "tgi_pool_replica_state",
        "tgi_pool_replica_standbys",
        "tgi_pool_slots",
        "tgi_pool_slots_configured",
        "tgi_pool_slots_busy",
        "tgi_pool_replica_scrape_success",
        "tgi_pool_replica_scrape_duration_seconds",
        "tgi_pool_replica_scrape_dropped_samples",
        "tgi_pool_jobs_queued_total",
        "tgi_pool_jobs_started_total",
        "tgi_pool_jobs_total",
        "tgi_pool_tokens_total",
        "tgi_pool_queue_time_seconds",
        "tgi_pool_time_to_first_token_seconds",
        "tgi_pool_job_duration_seconds",
      ]
    `)
    const source = await readFile(new URL('../../src/metrics/own-families.ts', import.meta.url), 'utf8')
    const table = [...source.matchAll(/^ \* \| `(tgi_pool_\w+)` \|/gm)].map(([, name]) => name)
    expect(table).toEqual(ours.map(({ name }) => name))
    for (const { name, help, type } of ours) {
      expect(help).toMatch(/\w/)
      expect(type).toMatch(name.endsWith('_total') ? /^counter$/ : /^(gauge|histogram)$/)
      expect(name).not.toMatch(/_ms$|_milliseconds$/)
    }
  })
})
