import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createParser } from 'eventsource-parser'
import fc from 'fast-check'
import { describe, expect, test as pure } from 'vitest'
import type { Cursor } from '../../src/contract/stream-id.ts'
import { SSE_HEADERS, formatSse, toSse } from '../../src/http/sse.ts'
import type { SseEvent } from '../../src/http/sse.ts'
import { test } from '../support/lab.ts'

function parse(text: string): { id: string; event: string; data: unknown }[] {
  const seen: { id: string; event: string; data: unknown }[] = []
  const parser = createParser({
    onEvent: ({ id, event, data }) => seen.push({ id: id ?? '', event: event ?? '', data: JSON.parse(data) }),
  })
  parser.feed(text)
  return seen
}

async function* broken(): AsyncGenerator<SseEvent> {
  yield { id: '0-0', event: 'restart', data: {} }
  throw new Error('gone')
}

describe('an event as SSE', () => {
  pure('comes back as it was, whatever is in it, and nothing in it can forge another', () => {
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('\n\nid: 1\nevent: end\ndata: {}\n\n', '\r', '\u2028'),
    )
    fc.assert(
      fc.property(fc.array(texts, { minLength: 1 }), (pieces) => {
        const events = pieces.map((t, i): SseEvent => {
          return { id: `1-${i + 2}` as Cursor, event: 'token', data: { t, i, id: 1, logprob: null } }
        })
        // What is no character on its own cannot travel as UTF-8.
        expect(parse(events.map(formatSse).join(''))).toEqual(JSON.parse(JSON.stringify(events)))
      }),
    )
  })

  pure('sends heartbeats while nothing comes, and ends the reading when the client leaves', async () => {
    let left = false
    const speaks = Promise.withResolvers<void>()
    async function* silence(): AsyncGenerator<SseEvent> {
      try {
        yield { id: '0-0', event: 'restart', data: {} }
        await speaks.promise
        yield { id: '0-0', event: 'restart', data: {} }
      } finally {
        left = true
      }
    }
    const reader = toSse(silence(), { heartbeatMs: 20 }).getReader()
    const chunks: string[] = []
    while (chunks.length < 3) chunks.push(new TextDecoder().decode((await reader.read()).value))
    expect(chunks).toEqual([expect.stringContaining('restart'), ': still here\n\n', ': still here\n\n'])
    const cancelled = reader.cancel()
    speaks.resolve()
    await cancelled
    expect(left).toBe(true)
  })

  test('ends the reading of a job at once that may never say anything', async ({ lab }) => {
    const client = await lab.client()
    const { job_id: jobId } = await client.enqueue({ inputs: 'waits for a worker' })
    const reader = toSse(client.events(jobId)).getReader()
    await reader.read()
    await expect.poll(async () => String(await lab.redis.client('LIST'))).toContain('cmd=xread')
    const since = performance.now()
    await reader.cancel()
    // The read that waits ends by itself after five seconds.
    expect(performance.now() - since).toBeLessThan(4000)
  })

  pure('fails with what the reading throws', async () => {
    const reader = toSse(broken()).getReader()
    await reader.read()
    await expect(reader.read()).rejects.toThrow('gone')
  })

  test("serves a job from a server of one's own", async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    const { job_id: jobId } = await client.enqueue({ inputs: 'hello', parameters: { max_new_tokens: 8 } })
    const server = createServer((request, response) => {
      const after = request.headers['last-event-id']?.toString()
      response.writeHead(200, SSE_HEADERS)
      void pipeline(Readable.fromWeb(toSse(client.events(jobId, { after }))), response).catch(() => undefined)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const whole = parse(await (await fetch(url)).text())
    expect(whole.map(({ event }) => event)).toEqual([
      'queued',
      'started',
      ...Array.from({ length: 8 }, () => 'token'),
      'end',
    ])
    const rest = await fetch(url, { headers: { 'Last-Event-ID': whole[5]?.id ?? '' } })
    expect(parse(await rest.text())).toEqual(whole.slice(6))
    server.closeAllConnections()
    server.closeAllConnections()
    server.close()
  })
})
