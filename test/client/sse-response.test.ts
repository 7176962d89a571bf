import { createServer } from 'node:http'
import type { ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, expect } from 'vitest'
import type { PoolClient } from '../../src/client/pool-client.ts'
import { sseResponse } from '../../src/client/sse-response.ts'
import { SSE_HEADERS, formatSse } from '../../src/http/sse.ts'
import { collect } from '../support/job-log.ts'
import { test } from '../support/lab.ts'

/** The same client; `left` resolves when a read of events is over, whoever ended it. */
function watchReads(client: PoolClient): { readonly client: PoolClient; readonly left: Promise<void> } {
  const { promise: left, resolve } = Promise.withResolvers<void>()
  return {
    left,
    client: {
      ...client,
      events(...args) {
        const events = client.events(...args)
        const end = events.return.bind(events)
        events.return = (value) => end(value).finally(resolve)
        return events
      },
    },
  }
}

describe('a request for events', () => {
  test('is answered with all of them, or those after the last one that was seen', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    const { job_id: jobId } = await client.enqueue({ inputs: 'x', parameters: { max_new_tokens: 8 } })
    const events = await collect(client, jobId)
    for (const [after, expected] of [
      [undefined, events],
      [null, events],
      ['', events],
      [events[4]?.id, events.slice(5)],
    ] as const) {
      const response = await sseResponse(client, jobId, { after })
      expect(response.status).toBe(200)
      expect(Object.fromEntries(response.headers)).toEqual(
        Object.fromEntries(Object.entries(SSE_HEADERS).map(([name, value]) => [name.toLowerCase(), value])),
      )
      expect(await response.text()).toBe(expected.map(formatSse).join(''))
    }
  })

  test('after the last event is answered with 204, so that an EventSource stays away', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    const { job_id: jobId } = await client.enqueue({ inputs: 'x', parameters: { max_new_tokens: 2 } })
    const { id } = (await collect(client, jobId)).at(-1) ?? {}
    const response = await sseResponse(client, jobId, { after: id })
    expect([response.status, response.body]).toEqual([204, null])
  })

  test('is answered at once, though the next event is still to come', async ({ lab }) => {
    const client = await lab.client()
    const { job_id: jobId } = await client.enqueue({ inputs: 'x', parameters: { max_new_tokens: 2 } })
    // No worker is there yet: nothing follows `queued`.
    const response = await sseResponse(client, jobId, { after: '0-1' })
    expect(response.status).toBe(200)
    await lab.worker(await lab.replica())
    expect(await response.text()).toMatch(/^id: \d+-1\nevent: started\n[^]*event: end\n.*\n\n$/)
  })

  test('that cannot be served is answered with the status of the error', async ({ lab }) => {
    const client = await lab.client()
    const { job_id: jobId } = await client.enqueue({ inputs: 'x' })
    const nowhere = { ...client, ...(await lab.client({}, 'other')) }
    for (const [pool, id, after, status, code] of [
      [client, 'nobody', undefined, 404, 'UNKNOWN_JOB'],
      [client, '', undefined, 404, 'UNKNOWN_JOB'],
      [client, 'nobody', '9007199254740991-1', 410, 'GONE'],
      [client, jobId, 'tomorrow', 400, 'INVALID_PARAMS'],
      [nowhere, jobId, undefined, 404, 'UNKNOWN_JOB'],
    ] as const) {
      const response = await sseResponse(pool, id, { after })
      expect(response.status).toBe(status)
      expect(response.headers.get('content-type')).toBe('application/json')
      expect(await response.json()).toMatchObject({ error: { code, retriable: false } })
    }
  })

  test('without Redis says when to come again', async ({ lab }) => {
    const client = await lab.client()
    const { job_id: jobId } = await client.enqueue({ inputs: 'x' })
    await client.close()
    const response = await sseResponse(client, jobId)
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1'])
    expect(await response.json()).toMatchObject({ error: { code: 'REDIS_UNAVAILABLE', retriable: true } })
  })

  test('ends with its signal, before the answer and after it', async ({ lab }) => {
    const client = await lab.client()
    const { job_id: jobId } = await client.enqueue({ inputs: 'x' })
    const stop = new AbortController()
    const response = await sseResponse(client, jobId, { after: '0-1', signal: stop.signal })
    stop.abort(new Error('enough'))
    await expect(response.text()).rejects.toThrow('enough')
    await expect(sseResponse(client, jobId, { signal: stop.signal })).rejects.toThrow('enough')
  })

  test('whose client leaves is read no longer, though nothing happens to its job', async ({ lab }) => {
    const { client, left } = watchReads(await lab.client())
    const { job_id: jobId } = await client.enqueue({ inputs: 'x' })
    const send = async (response: ServerResponse) => {
      const { status, headers, body } = await sseResponse(client, jobId)
      response.writeHead(status, Object.fromEntries(headers))
      await pipeline(body ? Readable.fromWeb(body) : [], response).catch(() => undefined)
    }
    const server = createServer((_request, response) => void send(response))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const leave = new AbortController()
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const answer = await fetch(url, { signal: leave.signal })
    const reader = answer.body?.getReader()
    expect(new TextDecoder().decode((await reader?.read())?.value)).toContain('event: queued')
    leave.abort()
    await left
    server.close()
    expect(await client.job(jobId)).toMatchObject({ state: 'queued' })
  })
})
