/**
 * Subscribers of event streams: a bare socket each, since an HTTP client's work would be in the figures, and a search for
 * stamps (support/stamped-text.ts) in what comes.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { monotonicMs } from '../support/clock.ts'
import { inParallel } from '../support/in-parallel.ts'
import { percentile } from '../support/statistics.ts'
import { serveParent } from '../support/weighed-child.ts'
import { idsOf } from './writer-process.ts'
import type { Delivery, SubscribersOrder, SubscribersSettings } from './subscribers-process.ts'

/** Ends a token's text in its JSON. */
const STAMP = /@(\d+\.\d+)"/g
const FRAME_END = '\n\n'

const { url, pool, jobs } = JSON.parse(process.argv[2] ?? '{}') as SubscribersSettings
let latencies: number[] = []
const sockets: Socket[] = []

function subscribe(jobId: string): Promise<void> {
  const { hostname, host, port } = new URL(url)
  const ready = Promise.withResolvers<void>()
  const socket = connect(Number(port), hostname)
  sockets.push(socket)
  socket.setNoDelay(true)
  socket.setEncoding('latin1')
  socket.write(`GET /v1/jobs/${jobId}/events?pool=${pool} HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
  let rest = ''
  socket.on('data', (chunk: string) => {
    const nowMs = monotonicMs()
    const text = rest + chunk
    const end = text.lastIndexOf(FRAME_END)
    rest = end < 0 ? text : text.slice(end)
    if (end < 0) return
    const whole = text.slice(0, end)
    for (const [, stamp] of whole.matchAll(STAMP)) latencies.push(nowMs - Number(stamp))
    if (whole.includes('event: started')) ready.resolve()
  })
  socket.once('error', ready.reject)
  socket.once('close', () => ready.reject(new Error(`the events of ${jobId} were cut off`)))
  return ready.promise
}

function tell(): Delivery {
  return {
    tokens: latencies.length,
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
    maxMs: percentile(latencies, 1),
  }
}

const jobIds = idsOf(jobs)
await inParallel(jobIds.length, 50, (index) => subscribe(jobIds[index] ?? ''))
serveParent({
  busy: () => sockets.length,
  order(what) {
    if ((what as SubscribersOrder) === 'tell') return tell()
    latencies = []
    return undefined
  },
  stop: async () => {
    for (const socket of sockets) socket.destroy()
  },
})
