import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pino } from 'pino'
import type { Family, Sample } from '../../src/metrics/family.ts'
import { parseExposition } from '../../src/metrics/parse.ts'
import type { MetricsOptions } from '../../src/metrics/metrics-options.ts'
import { startMetricsServer } from '../../src/metrics/server.ts'
import type { MetricsServer } from '../../src/metrics/server.ts'
import { KEYS, test as base } from '../support/lab.ts'
import type { Lab } from '../support/lab.ts'

/** Something at a replica's address that does as told. */
interface Stand {
  readonly url: string
  /** Requests so far. */
  readonly asked: number
  /** Connections that are open now. */
  readonly open: number
}

/** Metrics servers of one test, and what they may meet. */
export interface Stage {
  /** Every line they have logged. */
  readonly lines: readonly string[]
  /** One on a free port, without a cache unless told otherwise; closed after the test. */
  serve(options?: Partial<MetricsOptions>): Promise<MetricsServer>
  /** A server on a free port; gone after the test. */
  stand(answer: (response: ServerResponse, request: IncomingMessage) => void): Promise<Stand>
  /** One that answers everything with one text. */
  tell(text: string, status?: number): Promise<Stand>
}

/** `test` with a `stage` on the lab's Redis. */
export const test = base.extend('stage', async ({ lab }, { onCleanup }): Promise<Stage> => {
  const servers: MetricsServer[] = []
  const stands: { close(): Promise<void> }[] = []
  const lines: string[] = []
  const logger = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) })
  onCleanup(async () => {
    await Promise.all(servers.map((server) => server.close()))
    await Promise.all(stands.map((stand) => stand.close()))
  })
  const stand: Stage['stand'] = async (answer) => {
    const made = await startStand(answer)
    stands.push(made)
    return made
  }
  return {
    lines,
    async serve(options) {
      const server = await startMetricsServer({
        redisUrl: lab.redisUrl,
        port: 0,
        cacheMs: 0,
        logger,
        ...options,
      })
      servers.push(server)
      return server
    },
    stand,
    tell: (text, status = 200) =>
      stand((response) => response.writeHead(status, { 'content-type': 'text/plain' }).end(text)),
  }
})

async function startStand(
  answer: (response: ServerResponse, request: IncomingMessage) => void,
): Promise<Stand & { close(): Promise<void> }> {
  let asked = 0
  let open = 0
  const server = createServer((request, response) => {
    asked += 1
    answer(response, request)
  })
  server.on('connection', (socket) => {
    open += 1
    socket.once('close', () => (open -= 1))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    get asked() {
      return asked
    },
    get open() {
      return open
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** What a metrics server tells. */
interface Told {
  readonly text: string
  readonly families: readonly Family[]
  /** The samples of a name with these labels, whatever others they have. */
  samples(name: string, labels?: Readonly<Record<string, string>>): readonly Sample[]
  /** The number of the one sample of that name with these labels; undefined when there is none. */
  value(name: string, labels?: Readonly<Record<string, string>>): number | undefined
}

/** Asks for `/metrics`, as Prometheus does. */
export async function scrape({ url }: Pick<MetricsServer, 'url'>): Promise<Told> {
  const answer = await fetch(`${url}/metrics`, { headers: { connection: 'close' } })
  const text = await answer.text()
  if (answer.status !== 200) throw new Error(`HTTP ${answer.status}: ${text}`)
  const families = parseExposition(text)
  const samples: Told['samples'] = (name, labels = {}) =>
    families
      .flatMap((family) => family.samples)
      .filter(
        (sample) =>
          sample.name === name &&
          Object.entries(labels).every(([label, value]) => labelOf(sample, label) === value),
      )
  return {
    text,
    families,
    samples,
    value(name, labels) {
      const found = samples(name, labels)
      if (found.length > 1) throw new Error(`${name} ${JSON.stringify(labels)}: ${found.length} samples`)
      return found[0] && Number(found[0].value)
    },
  }
}

/** The value of a sample's label. */
export function labelOf(sample: Sample, label: string): string | undefined {
  return sample.labels.find(([name]) => name === label)?.[1]
}

/** The answer of a health route. */
export async function health(
  url: string,
  path: '/livez' | '/readyz',
): Promise<{ status: number; body: unknown }> {
  const answer = await fetch(`${url}${path}`, { headers: { connection: 'close' } })
  return { status: answer.status, body: await answer.json() }
}

/** Puts a replica in the registry as its worker would, and holds its lease. */
export async function register(lab: Lab, replicaId: string, url: string, more: object = {}): Promise<void> {
  const entry = {
    replica_id: replicaId,
    worker_id: `worker-of-${replicaId}`,
    url,
    state: 'ready',
    versions: {
      engine: 'tgi',
      engine_version: '3.3.7',
      model_id: 'm',
      model_sha: null,
      max_total_tokens: 10,
    },
    slots: 4,
    slots_configured: 4,
    busy: 1,
    capabilities: [],
    updated_at: Date.now(),
    ...more,
  }
  await lab.redis.hset(KEYS.replicas, replicaId, JSON.stringify(entry))
  await lab.redis.set(KEYS.lease(replicaId), entry.worker_id)
}
