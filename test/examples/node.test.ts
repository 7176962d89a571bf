import { describe, expect } from 'vitest'
import { freePort } from '../../src/redis/server.ts'
import { startProxy } from '../support/proxy.ts'
import { textOfOnlyJob } from './only-job.ts'
import { readSse } from './read-sse.ts'
import { test } from './stage.ts'

const NODE = process.execPath

async function statusOf(where: URL): Promise<number> {
  const { status } = await fetch(where, { method: 'HEAD' })
  return status
}

describe('examples/node', () => {
  test('library.ts leaves, resumes without hole or repeat, and cancels', async ({ examples }) => {
    const replica = await examples.serve({ tokensPerSecond: 50 })
    const example = examples.run(NODE, ['examples/node/library.ts'])
    expect(await example.over).toBe(0)
    expect(example.stderr).toBe('')
    expect(example.stdout).toMatch(/^left after 5 tokens, at \d+-6\n/)
    expect(example.stdout).toContain('resumed: nothing missing, nothing twice\n')
    expect(example.stdout).toContain('the song begins: ')
    expect(example.stdout).toContain('CANCELLED: heard enough (retriable: false)\n')
    // The replica was freed long before the song would have been over.
    await expect.poll(() => replica.seen.open).toBe(0)
    expect(replica.seen.requests.map(({ outcome }) => outcome)).toEqual(['finished', 'aborted'])
  })

  test('library.ts goes on when its line to Redis breaks', async ({ examples, server }) => {
    await examples.serve({ tokensPerSecond: 60 })
    const proxy = await startProxy(server.port)
    examples.afterwards(() => proxy.close())
    const example = examples.run(NODE, ['examples/node/library.ts'], { env: { REDIS_URL: proxy.url } })
    await example.printed('left after')
    proxy.cut()
    proxy.pass()
    expect(await example.over).toBe(0)
    expect(example.stdout).toContain('resumed: nothing missing, nothing twice\n')
  })

  test('over-http.ts goes on across gateways that die, without hole or repeat', async ({ examples }) => {
    await examples.serve({ tokensPerSecond: 25 })
    const gateway = await examples.gateway()
    const env = { TGI_POOL_GATEWAY: gateway.url }
    const example = examples.run(NODE, ['examples/node/over-http.ts', 'Tell me a story'], { env })
    await example.printed(/\S+ \S+ \S+/)
    for (const [signal, more] of [
      ['SIGKILL', /(\S+\s+){10}/],
      ['SIGTERM', /(\S+\s+){20}/],
    ] as const) {
      await gateway.kill(signal)
      await gateway.again()
      await example.printed(more)
    }
    expect(await example.over).toBe(0)
    expect(example.stdout).toBe(`${await textOfOnlyJob(examples)}\n`)
  })

  test('over-http.ts waits for a gateway that is not up yet', async ({ examples }) => {
    await examples.serve()
    const gateway = await examples.gateway()
    await gateway.kill()
    const example = examples.run(NODE, ['examples/node/over-http.ts'], {
      env: { TGI_POOL_GATEWAY: gateway.url },
    })
    await gateway.again()
    expect(await example.over).toBe(0)
    expect(example.stdout).toBe(`${await textOfOnlyJob(examples)}\n`)
  })

  test('over-http.ts says what was refused', async ({ examples }) => {
    await examples.serve()
    const { url } = await examples.gateway()
    const env = { TGI_POOL_GATEWAY: url, TGI_POOL: '-' }
    const example = examples.run(NODE, ['examples/node/over-http.ts'], { env })
    expect(await example.over).toBe(1)
    expect(example.stderr).toContain('INVALID_PARAMS')
  })

  test('event-source.ts serves a job to an EventSource, and nothing where there is nothing', async ({
    examples,
  }) => {
    await examples.serve({ tokensPerSecond: 100 })
    const client = await examples.client()
    const { job_id: jobId } = await client.enqueue({ inputs: 'Once', parameters: { max_new_tokens: 30 } })
    const port = await freePort()
    const example = examples.run(NODE, ['examples/node/event-source.ts'], { env: { PORT: String(port) } })
    const url = new URL(`http://127.0.0.1:${port}/${jobId}`)
    await expect.poll(() => statusOf(new URL('/nobody', url)).catch(() => 'not up yet')).toBe(404)
    const left = await readSse(url, undefined, 10)
    const rest = await readSse(url, left.at(-1)?.id)
    const whole = await readSse(url)
    expect([...left, ...rest]).toEqual(whole)
    expect(whole.at(-1)?.event).toBe('end')
    expect(await readSse(url, whole.at(-1)?.id)).toEqual([])
    expect(example.stderr).toBe('')
  })

  test('sse-server.ts speaks what an EventSource understands, and resumes', async ({ examples }) => {
    await examples.serve({ tokensPerSecond: 100 })
    const port = await freePort()
    const example = examples.run(NODE, ['examples/node/sse-server.ts'], { env: { PORT: String(port) } })
    await example.printed('listening', 'stderr')
    const base = `http://127.0.0.1:${port}`
    const asked = await fetch(`${base}/ask`, { method: 'POST', body: 'Tell me a story' })
    expect(asked.status).toBe(202)
    const url = new URL(((await asked.json()) as { events: string }).events, base)
    const left = await readSse(url, undefined, 20)
    const rest = await readSse(url, left.at(-1)?.id)
    const whole = await readSse(url)
    expect([...left, ...rest]).toEqual(whole)
    expect(whole.at(-1)?.event).toBe('end')
    expect(await readSse(url, whole.at(-1)?.id)).toEqual([])
    const unknown = await fetch(new URL('/events/nobody', base))
    expect([unknown.status, await unknown.text()]).toEqual([404, expect.stringContaining('UNKNOWN_JOB')])
    example.kill('SIGTERM')
    expect(await example.over).toBe(0)
  })
})
