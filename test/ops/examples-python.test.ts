/** Needs Python 3.10 or newer with `venv` (Debian: apt-get install python3-venv) and PyPI. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { poolKeys } from '../../src/contract/keys.ts'
import { SEAL_ID } from '../../src/contract/stream-id.ts'
import { connectToServer } from '../../src/redis/connect.ts'
import { runDocument } from '../examples/document.ts'
import { onlyJob, textOfOnlyJob } from '../examples/only-job.ts'
import { ROOT, test } from '../examples/stage.ts'
import { endOf, collect, errorOf } from '../support/job-log.ts'
import { startProxy } from '../support/proxy.ts'
import { must, tempFolder } from './run.ts'

const SCRIPT = 'examples/python/produce_and_follow.py'
let python = ''
let done: (() => Promise<void>) | undefined

beforeAll(async () => {
  const folder = await tempFolder()
  done = folder.done
  await must('python3', ['-m', 'venv', folder.path], { cwd: folder.path })
  python = join(folder.path, 'bin', 'python')
  const requirements = join(ROOT, 'examples/python/requirements.txt')
  await must(python, ['-m', 'pip', 'install', '--quiet', '-r', requirements], { cwd: folder.path })
})

afterAll(() => done?.())

describe('examples/python', () => {
  test('a job of BullMQ for Python is served, and its text printed', async ({ examples }) => {
    const replica = await examples.serve()
    const example = examples.run(python, [SCRIPT, 'Où est le chat ?'])
    expect(await example.over).toBe(0)
    expect(example.stdout).toBe(`${await textOfOnlyJob(examples)}\n`)
    const jobId = await onlyJob(examples)
    expect(example.stderr).toBe(`JOB_ID=${jobId}\n`)
    endOf(await collect(await examples.client(), jobId))
    expect(replica.seen.requests).toHaveLength(1)
    // Again, from the events alone.
    const again = examples.run(python, [SCRIPT], { env: { JOB_ID: jobId } })
    expect(await again.over).toBe(0)
    expect(again.stdout).toBe(example.stdout)
  })

  test('priorities, ids and defaults are on the wire as its README says', async ({ examples }) => {
    const client = await examples.client()
    const add = [
      ['batch-1', { priority: 20 }],
      ['first-1', { priority: 10 }],
      ['batch-2', { priority: 20 }],
      ['first-2', { priority: 10 }],
      ['first-1', { priority: 20 }],
      ['none', {}],
    ] as const
    const code = `
import asyncio, json, sys
from bullmq import Queue
async def main():
    queue = Queue("jobs", {"connection": sys.argv[1], "prefix": sys.argv[2]})
    for id, opts in json.loads(sys.argv[3]):
        await queue.add("generate", {"inputs": f"[tag:{id}]", "parameters": {"max_new_tokens": 1}}, {"jobId": id, **opts})
    await queue.close()
asyncio.run(main())`
    const prefix = poolKeys(examples.pool).queuePrefix
    const adding = examples.run(python, ['-c', code, examples.redisUrl, prefix, JSON.stringify(add)])
    expect(await adding.over, adding.stderr).toBe(0)
    expect(await client.waiting()).toEqual({ interactive: 3, batch: 2, delayed: 0 })
    const replica = await examples.replica()
    await examples.worker(replica, 1)
    await client.result('batch-2')
    expect(replica.seen.requests.map(({ tag }) => tag)).toEqual([
      'none',
      'first-1',
      'first-2',
      'batch-1',
      'batch-2',
    ])
  })

  test('the consumer goes on where its line to Redis broke, without hole or repeat', async ({
    examples,
    server,
  }) => {
    await examples.serve({ tokensPerSecond: 25 })
    const proxy = await startProxy(server.port)
    examples.afterwards(() => proxy.close())
    const example = examples.run(python, [SCRIPT, 'Tell me a story'], { env: { REDIS_URL: proxy.url } })
    for (const soFar of [/(\S+\s+){3}/, /(\S+\s+){15}/, /(\S+\s+){30}/]) {
      await example.printed(soFar)
      proxy.cut()
      await expect.poll(() => proxy.lines).toBe(0)
      proxy.pass()
    }
    expect(await example.over).toBe(0)
    expect(example.stdout).toBe(`${await textOfOnlyJob(examples)}\n`)
  })

  test('a wrong body is refused before it is in the queue, and a job in `error` is told', async ({
    examples,
  }) => {
    const client = await examples.client()
    const wrong = examples.run(python, [SCRIPT, 'x'], { env: { JOB_ID: 'not: an id' } })
    expect(await wrong.over).toBe(1)
    expect(wrong.stderr).toContain('ValidationError')
    const waits = examples.run(python, [SCRIPT, 'x'], { env: { JOB_ID: 'waits' } })
    await expect.poll(() => client.waiting()).toMatchObject({ interactive: 1 })
    await client.cancel('waits', { reason: 'not now' })
    expect(await waits.over).toBe(3)
    expect(waits.stderr).toContain('CANCELLED: not now')
    errorOf(await collect(client, 'waits'))
    const unknown = examples.run(python, [SCRIPT], { env: { JOB_ID: 'nobody' } })
    expect(await unknown.over).toBe(1)
    expect(unknown.stderr).toContain('neither in the queue of pool')
  })

  test('the consumer takes back what `next_token` and a lost stream say', async ({ examples, server }) => {
    const proxy = await startProxy(server.port)
    examples.afterwards(() => proxy.close())
    const redis = await connectToServer(examples.redisUrl, { role: 'commands' })
    examples.afterwards(() => redis.disconnect())
    const stream = poolKeys(examples.pool).events('made-up')
    const add = (id: string, event: string, data: object) =>
      redis.xadd(stream, id, 'event', event, 'data', JSON.stringify(data))
    const token = (epoch: number, n: number, i: number, t: string) =>
      add(`${epoch}-${n}`, 'token', { t, i, id: 7, logprob: -1 })
    const started = (epoch: number, attempt: number, next_token: number) =>
      add(`${epoch}-1`, 'started', { ...STARTED, attempt, next_token })
    await started(5, 1, 0)
    for (const [i, t] of ['a', 'b', 'c'].entries()) await token(5, i + 2, i, t)
    const env = { JOB_ID: 'made-up', REDIS_URL: proxy.url }
    const example = examples.run(python, [SCRIPT], { env })
    await example.printed('abc')
    await started(6, 2, 1)
    await token(6, 2, 1, 'B')
    await example.printed('abc\naB')
    proxy.cut()
    await redis.del(stream)
    await started(4, 1, 0)
    await token(4, 2, 0, 'x')
    proxy.pass()
    await example.printed('abc\naB\nx')
    await add(SEAL_ID, 'error', {
      code: 'INTERNAL',
      message: 'over',
      retriable: true,
      engine: 'tgi',
      pool_id: 'p',
    })
    expect(await example.over).toBe(3)
    expect(example.stdout).toBe('abc\naB\nx\n')
  })

  test('ten lines over HTTP print the text, and fail when the job does', async ({ examples }) => {
    await examples.serve({ tokensPerSecond: 50 })
    const { url } = await examples.gateway()
    const path = join(examples.dir, 'examples/python/http_ten_lines.py')
    const code = await readFile(path, 'utf8')
    expect(code.match(/\S.*\n/g)).toHaveLength(10)
    const own = code
      .replace('http://127.0.0.1:8700', url)
      .replace('"pool": "p"', `"pool": "${examples.pool}"`)
    expect(own).not.toBe(code)
    await writeFile(path, own)
    const example = examples.run(python, [path, 'Tell me a story'])
    await example.printed(/(\S+\s+){5}/)
    const jobId = await onlyJob(examples)
    expect(await example.over).toBe(0)
    expect(example.stdout).toBe((await (await examples.client()).result(jobId)).text)
    const cancelled = examples.run(python, [path, 'Tell me another'])
    await cancelled.printed(/(\S+\s+){5}/)
    await (await examples.client()).cancel(await onlyJob(examples, jobId))
    expect(await cancelled.over).toBe(1)
    expect(cancelled.stderr).toContain('the last event was error')
  })

  test('every command of its README does what it says', async ({ stage }) => {
    const { url: redisUrl } = await stage.redis()
    expect(await runDocument('examples/python/README.md', { dir: stage.dir, redisUrl })).not.toHaveLength(0)
  })
})

const STARTED = {
  engine: 'tgi',
  engine_version: '3.3.6',
  pool_id: 'p',
  replica_id: 'gpu-0',
  model_id: 'm',
  seed: 1,
  queue_time_ms: 0,
  determinism: 'best_effort',
}
