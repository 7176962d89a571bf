import { connect } from 'node:net'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { describe, expect, onTestFinished } from 'vitest'
import { startMetricsServer } from '../../src/metrics/server.ts'
import { test } from './stage.ts'

const KEY = 'a-key-of-this-test-0123456789'

/** Sends bytes as they are; resolves with the status and all that came until the line is closed. */
function exchange(
  port: number,
  ...pieces: readonly (string | Buffer)[]
): Promise<{ status: number; text: string }> {
  return new Promise((resolve) => {
    let text = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(pieces[0] ?? ''))
    let sent = 1
    socket.setEncoding('latin1').on('data', (more: string) => {
      text += more
      // What waits for the answer to Expect.
      if (/ 100 Continue/.test(text) && sent < pieces.length) socket.write(pieces[sent++] ?? '')
    })
    socket
      .on('error', () => undefined)
      .on('close', () => {
        const last = [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].at(-1)
        resolve({ status: Number(last?.[1]), text })
      })
    onTestFinished(() => void socket.destroy())
  })
}

const CLOSE = 'Connection: close\r\n\r\n'

/** What proxies, balancers and probes make of `GET <path>` where any Host will do. */
const PROBES: readonly (readonly [string, (path: string) => string])[] = [
  ['HTTP/1.0 without Host', (path) => `GET ${path} HTTP/1.0\r\n\r\n`],
  ['HTTP/1.1 without Host', (path) => `GET ${path} HTTP/1.1\r\n${CLOSE}`],
  ['an empty Host', (path) => `GET ${path} HTTP/1.1\r\nHost:\r\n${CLOSE}`],
  ['a pod address as Host', (path) => `GET ${path} HTTP/1.1\r\nHost: 10.1.2.3:8700\r\n${CLOSE}`],
  ['a service name as Host', (path) => `GET ${path} HTTP/1.1\r\nHost: my_service.ns.svc:8700\r\n${CLOSE}`],
  [
    'an absolute target',
    (path) => `GET http://proxy.example${path} HTTP/1.1\r\nHost: proxy.example\r\n${CLOSE}`,
  ],
]

/** What they make of it under a loopback name. */
const REQUESTS: readonly (readonly [string, (path: string) => string])[] = [
  ['HTTP/1.0 with keep-alive and an end', (path) => `GET ${path} HTTP/1.0\r\nHost: localhost\r\n\r\n`],
  ['a trailing slash', (path) => `GET ${path}/ HTTP/1.1\r\nHost: localhost\r\n${CLOSE}`],
  ['a query', (path) => `GET ${path}?verbose&x=%zz HTTP/1.1\r\nHost: localhost\r\n${CLOSE}`],
  ['HEAD', (path) => `HEAD ${path} HTTP/1.1\r\nHost: localhost\r\n${CLOSE}`],
  ['Expect', (path) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n${CLOSE}`],
  [
    'forwarding headers, repeated',
    (path) =>
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${['1.2.3.4', 'unknown', '[::1]:80'].map((from) => `X-Forwarded-For: ${from}\r\nForwarded: for="${from}"\r\n`).join('')}X-Forwarded-Host: evil.example\r\nX-Forwarded-Host: b\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\nVia: 1.0 a, 1.1 b\r\n${CLOSE}`,
  ],
  [
    'a correlation id of another make, twice',
    (path) =>
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nX-Correlation-Id: a/b=c\r\nX-Correlation-Id: d\r\n${CLOSE}`,
  ],
  [
    'credentials of a proxy',
    (path) =>
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic eDp5\r\nCookie: a=b\r\nCookie: c\r\n${CLOSE}`,
  ],
  [
    'an empty chunked body',
    (path) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n${CLOSE}0\r\n\r\n`,
  ],
  ['a length of 0', (path) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n${CLOSE}`],
  ['an Origin', (path) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n${CLOSE}`],
  [
    'hop-by-hop headers',
    (path) =>
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nProxy-Connection: keep-alive\r\n${CLOSE}`,
  ],
  [
    'compression asked for',
    (path) =>
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip, br;q=0\r\nAccept: */*;q=0\r\nRange: bytes=0-0\r\nIf-None-Match: *\r\n${CLOSE}`,
  ],
]

describe('what stands in front may send a probe', () => {
  test('in any way', async ({ lab, gateway }) => {
    const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-keys-'))
    onTestFinished(() => rm(dir, { recursive: true }))
    const bearerFile = join(dir, 'keys')
    await writeFile(bearerFile, `${KEY}\n`)
    const metrics = await startMetricsServer({
      redisUrl: lab.redisUrl,
      port: 0,
      logger: pino({ level: 'silent' }),
    })
    const probes = ['/livez', '/readyz']
    const doors = [
      ['the gateway', (await gateway()).port, probes, [...PROBES, ...REQUESTS]],
      ['the gateway with keys', (await gateway({ bearerFile })).port, probes, [...PROBES, ...REQUESTS]],
      ['the metrics process', metrics.port, probes, [...PROBES, ...REQUESTS]],
      ['the metrics process', metrics.port, ['/metrics'], REQUESTS],
    ] as const
    const wrong: string[] = []
    for (const [door, port, paths, requests] of doors) {
      for (const path of paths) {
        const answers = await Promise.all(requests.map(([, request]) => exchange(port, request(path))))
        for (const [index, { status, text }] of answers.entries())
          if (status !== 200) wrong.push(`${door} ${path}, ${requests[index]?.[0]}: ${status || text}`)
      }
    }
    await metrics.close()
    expect(wrong).toEqual([])
  })
})

describe('what stands in front', () => {
  test('may send a job in pieces, chunked, after a wait, with repeated headers', async ({ lab, gateway }) => {
    await lab.client()
    const { port } = await gateway()
    const body = JSON.stringify({ pool: 'lab', inputs: 'hello' })
    const head = `POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`
    const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\nX-Trailer: 1\r\n\r\n`
    const sent = await Promise.all([
      exchange(port, `${head}Transfer-Encoding: chunked\r\n${CLOSE}${chunked}`),
      exchange(port, `${head}Expect: 100-continue\r\nContent-Length: ${body.length}\r\n${CLOSE}`, body),
      exchange(port, `${head.replace('1.1', '1.0')}Content-Length: ${body.length}\r\n\r\n${body}`),
      exchange(
        port,
        `${head.replace('/v1/jobs', '/v1/jobs/')}Content-Length: ${body.length}\r\n${CLOSE}${body}`,
      ),
      exchange(
        port,
        `${head}X-Forwarded-For: a\r\nX-Forwarded-For: b\r\nContent-Length: ${body.length}\r\n${CLOSE}${body}`,
      ),
    ])
    expect(sent.map(({ status }) => status)).toEqual([202, 202, 202, 202, 202])
  })

  test('may send a byte a chunk, of a body larger than any first buffer', async ({ lab, gateway }) => {
    const client = await lab.client()
    const { port } = await gateway()
    const prompt = 'aé漢 '.repeat(4000)
    const body = Buffer.from(JSON.stringify({ pool: 'lab', job_id: 'bytes', inputs: prompt }))
    const chunks = Array.from(body, (byte) => [
      Buffer.from('1\r\n'),
      Buffer.from([byte]),
      Buffer.from('\r\n'),
    ])
    const head = `POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n${CLOSE}`
    const whole = Buffer.concat([Buffer.from(head), ...chunks.flat(), Buffer.from('0\r\n\r\n')])
    expect((await exchange(port, whole)).status).toBe(202)
    // The same id with the same body is the same job.
    expect(await client.enqueue({ inputs: prompt }, { jobId: 'bytes' })).toMatchObject({ existing: true })
  })

  test('may not reach data under another name, in whatever way it says it', async ({ gateway }) => {
    const { port } = await gateway()
    const path = '/v1/pools'
    const answers = await Promise.all([
      exchange(port, `GET ${path} HTTP/1.1\r\nHost: evil.example\r\n${CLOSE}`),
      exchange(port, `GET ${path}/ HTTP/1.1\r\nHost: evil.example\r\n${CLOSE}`),
      exchange(port, `GET ${path} HTTP/1.1\r\nHost:\r\n${CLOSE}`),
      exchange(port, `GET ${path} HTTP/1.0\r\n\r\n`),
      exchange(port, `GET http://localhost${path} HTTP/1.1\r\nHost: evil.example\r\n${CLOSE}`),
      exchange(port, `GET ${path} HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost\r\n${CLOSE}`),
    ])
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 403))
  })

  test('may keep a connection for more than a minute', async ({ gateway }) => {
    const { port } = await gateway()
    const text = await new Promise<string>((resolve) => {
      const socket = connect(port, '127.0.0.1', () =>
        socket.write('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n'),
      )
      socket.setEncoding('latin1').once('data', (head: string) => resolve(head))
      onTestFinished(() => void socket.destroy())
    })
    expect(Number(/Keep-Alive: timeout=(\d+)/i.exec(text)?.[1])).toBeGreaterThanOrEqual(65)
  })
})
