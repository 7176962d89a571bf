import { Queue } from 'bullmq'
import { expect, test } from 'vitest'
import type { PoolClient } from '../../src/client/pool-client.ts'
import { poolKeys } from '../../src/contract/keys.ts'
import { freePort } from '../../src/redis/server.ts'
import { LOG_LEVELS } from '../../src/runtime/log.ts'
import { collect, only, tokensIn } from '../support/job-log.ts'
import type { Replica } from '../support/lab.ts'
import {
  CANARIES,
  CANARY,
  LIMIT_MS,
  POOL,
  PROMPT,
  START_MS,
  canaryStage,
  piecesOf,
  whoSays,
} from './canaries-stage.ts'
import type { CanaryStage } from './canaries-stage.ts'

const BODY = {
  inputs: PROMPT,
  parameters: { max_new_tokens: 20, stop: [CANARIES.stop] },
}
const FAULTS = [
  'crash',
  'malformed',
  'stall',
  'generation-error',
  'incomplete',
  'no-final-event',
  'http-500',
  'overloaded',
] as const

/** What the answers of a level's jobs were, and what their errors said. */
interface Heard {
  readonly answers: string[]
}

/** Reads a job to its end. What it says when it fails is noted: no canary may be in it. */
async function follow(stage: CanaryStage, client: PoolClient, jobId: string, heard: Heard): Promise<void> {
  const events = await collect(client, jobId)
  const text = only(events, 'token')
    .map(({ data }) => data.t)
    .join('')
  heard.answers.push(...piecesOf(text))
  const last = events.at(-1)
  if (last?.event === 'error' && last.data.code !== 'CANCELLED')
    stage.note(`error event of ${jobId}`, JSON.stringify(last.data))
}

/** Asks a gateway, and notes what it answers when it refuses. */
async function ask(
  stage: CanaryStage,
  url: string,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ status: number; json: Record<string, unknown> }> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${CANARIES.bearer}`,
      'content-type': 'application/json',
      connection: 'close',
      ...headers,
    },
    body,
  })
  const text = await response.text()
  if (!response.ok) {
    const answer = JSON.stringify([...response.headers]) + text
    stage.note(`answer ${response.status} of the gateway`, answer)
  }
  return { status: response.status, json: JSON.parse(text) as Record<string, unknown> }
}

/** Jobs that go well, over HTTP and from the library. */
async function goWell(stage: CanaryStage, client: PoolClient, gateway: string, heard: Heard): Promise<void> {
  const chat = [{ role: 'user', content: CANARIES.chat }]
  for (const body of [BODY, { messages: chat, parameters: BODY.parameters }]) {
    const { status, json } = await ask(stage, `${gateway}/v1/jobs`, JSON.stringify({ pool: POOL, ...body }))
    expect(status).toBe(202)
    await follow(stage, client, String(json['job_id']), heard)
  }
}

/** Bodies that nobody takes: the door, the worker and the replica refuse them. */
async function refuseBodies(
  stage: CanaryStage,
  client: PoolClient,
  gateway: string,
  heard: Heard,
): Promise<void> {
  const jobs = `${gateway}/v1/jobs`
  const bodies = [
    `{"pool":"${POOL}","inputs":"${CANARIES.prompt}`,
    CANARIES.prompt,
    JSON.stringify({ pool: POOL, inputs: { text: CANARIES.prompt } }),
    JSON.stringify({ pool: POOL, messages: [{ role: 'user', content: [CANARIES.chat] }] }),
    JSON.stringify({ pool: POOL, messages: CANARIES.chat }),
    JSON.stringify({ pool: POOL, inputs: PROMPT, parameters: { stop: CANARIES.stop } }),
    JSON.stringify({ pool: POOL, inputs: PROMPT, parameters: { best_of: 2 } }),
    JSON.stringify({ pool: POOL, inputs: CANARIES.prompt.repeat(80_000) }),
    JSON.stringify({ pool: 'nobody', inputs: PROMPT }),
  ]
  for (const body of bodies) expect((await ask(stage, jobs, body)).status).toBeGreaterThanOrEqual(400)
  // More than a body may be; the gateway may hang up before all of it has gone.
  await ask(stage, jobs, JSON.stringify({ inputs: CANARIES.prompt.repeat(130_000) })).catch(
    (error: unknown) => stage.note('hung up', String(error)),
  )
  const wrong = { authorization: `Bearer ${CANARIES.wrongBearer}` }
  expect((await ask(stage, jobs, JSON.stringify({ pool: POOL, ...BODY }), wrong)).status).toBe(401)

  await client
    .enqueue({ inputs: CANARIES.prompt.repeat(80_000) })
    .catch((error: unknown) => stage.note('the library refuses', String(error)))
  const long = await client.enqueue({ inputs: `${PROMPT} ${'word '.repeat(300)}` })
  await follow(stage, client, long.job_id, heard)
  const role = await client.enqueue({ messages: [{ role: 'wizard', content: CANARIES.chat }] })
  await follow(stage, client, role.job_id, heard)
  await foreign(stage, 'foreign-1', { v: 1, inputs: 5, messages: CANARIES.chat })
  await follow(stage, client, 'foreign-1', heard)
}

/** Puts a body in the queue that no producer of ours would. */
async function foreign({ lab }: CanaryStage, jobId: string, body: object): Promise<void> {
  const queue = new Queue('jobs', { connection: lab.redis, prefix: poolKeys(POOL).queuePrefix })
  await queue.add('generate', body, { jobId, priority: 10, removeOnComplete: true, removeOnFail: true })
  await queue.close()
}

/** A job that streams for a while, and what happens to it meanwhile. */
async function meanwhile(
  stage: CanaryStage,
  client: PoolClient,
  heard: Heard,
  happens: (jobId: string) => Promise<void>,
): Promise<void> {
  const { job_id: jobId } = await client.enqueue({ ...BODY, parameters: { max_new_tokens: 100 } })
  await tokensIn(stage.lab.redis, poolKeys(POOL), jobId, 3)
  await happens(jobId)
  await follow(stage, client, jobId, heard)
}

/** Redis is cut off, full, and there again. */
async function hurtRedis(
  stage: CanaryStage,
  client: PoolClient,
  gateway: string,
  heard: Heard,
): Promise<void> {
  const { lab, proxy } = stage
  await meanwhile(stage, client, heard, async () => {
    proxy.cut()
    await ask(stage, `${gateway}/v1/jobs`, JSON.stringify({ pool: POOL, ...BODY }))
    proxy.pass()
  })
  await meanwhile(stage, client, heard, async () => {
    await lab.redis.config('SET', 'maxmemory', '1')
    await ask(stage, `${gateway}/v1/jobs`, JSON.stringify({ pool: POOL, ...BODY }))
    await lab.redis.config('SET', 'maxmemory', '0')
  })
}

/** Everything that can go wrong on the replica's side, each once. */
async function hurtReplica(
  stage: CanaryStage,
  client: PoolClient,
  replica: Replica,
  heard: Heard,
): Promise<void> {
  const jobs = []
  for (const kind of FAULTS) {
    replica.addFault({ kind, after: 3, times: 1, match: kind })
    jobs.push(await client.enqueue({ ...BODY, inputs: `${PROMPT} ${kind}` }))
  }
  jobs.push(await client.enqueue({ ...BODY, deadline_ms: 1 }))
  await Promise.all(jobs.map(({ job_id: jobId }) => follow(stage, client, jobId, heard)))
}

test.for(LOG_LEVELS.filter((level) => level !== 'silent'))(
  'at level %s no process tells a prompt, an answer, a reason, a key or a password, whatever goes wrong',
  { timeout: LIMIT_MS },
  async (level) => {
    const stage = await canaryStage()
    const { lab } = stage
    const config = { first_token_timeout_ms: 500, token_timeout_ms: 500, max_attempts: 2 }
    const client = await lab.client(config, POOL)
    const replica = await lab.replica({
      apiKey: CANARIES.apiKey,
      tokensPerSecond: 200,
      maxTotalTokens: 300,
    })
    const log = ['--log-level', level]
    const port = await freePort()
    stage.start(['simulator', '--port', String(port)])
    const keyed = { env: { TGI_API_KEY: CANARIES.apiKey } }
    stage.start(['worker', '--pool', POOL, '--replica', replica.url, '--grace-ms', '0', ...log], keyed)
    // The second replica asks for no key, and is sent that of a file.
    const filed = { env: { TGI_API_KEY_FILE: stage.files.apiKey } }
    const second = ['--pool', 'second', '--replica', `http://127.0.0.1:${port}`]
    stage.start(['worker', ...second, '--grace-ms', '0', ...log], filed)
    const metrics = await stage.serve('metrics', log, filed)
    const gateway = await stage.serve('gateway', ['--bearer-file', stage.files.bearer, ...log])
    const other = await lab.client({}, 'second')
    for (const each of [client, other])
      await expect.poll(() => each.replicas(), { timeout: START_MS }).toMatchObject([{ state: 'ready' }])

    const heard: Heard = { answers: [] }
    const { job_id: elsewhere } = await other.enqueue(BODY)
    await follow(stage, other, elsewhere, heard)
    await goWell(stage, client, gateway, heard)
    await hurtReplica(stage, client, replica, heard)
    await refuseBodies(stage, client, gateway, heard)
    await meanwhile(stage, client, heard, async (jobId) => {
      const reason = JSON.stringify({ reason: CANARIES.reason })
      const { status } = await ask(stage, `${gateway}/v1/jobs/${jobId}/cancel`, reason)
      expect(status).toBe(200)
    })
    await hurtRedis(stage, client, gateway, heard)
    stage.note('metrics', await (await fetch(`${metrics}/metrics`)).text())
    for (const path of ['/livez', '/readyz', '/metrics'])
      stage.note(path, await (await fetch(`${gateway}${path}`)).text())
    for (const name of [POOL, 'second'])
      stage.note('registry', JSON.stringify(await lab.redis.hgetall(poolKeys(name).replicas)))
    await stage.end()

    const said = await stage.said()
    const told = [...said.values()].join('')
    expect(told).toContain('tgi_pool_jobs')
    // They would have had the chance.
    if (level !== 'fatal' && level !== 'error') expect(told).toContain('"level":"warn"')
    if (level === 'trace') expect(told).toMatch(/job ended.*job ended/s)
    expect(heard.answers.length).toBeGreaterThan(20)
    expect(whoSays(said, [CANARY])).toEqual([])
    expect(whoSays(said, heard.answers)).toEqual([])
  },
)
