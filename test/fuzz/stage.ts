import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { PoolClient } from '../../src/client/pool-client.ts'
import { openPool } from '../../src/client/pools.ts'
import { connectToServer, disconnectRedis } from '../../src/redis/connect.ts'
import { startRedisServer } from '../../src/redis/server.ts'
import { startSimulatorProcess } from '../chaos/simulator-process.ts'
import { COMPOSE } from '../ops-files/compose-file.ts'
import { memoryOf } from '../ops-files/memory.ts'
import { startMeasuredProcess } from './measured-process.ts'
import type { MeasuredProcess } from './measured-process.ts'
import { MARK, POOL } from './shot.ts'

/** The processes that are measured. */
export const PROCESSES = ['gateway', 'worker'] as const

/** One of {@link PROCESSES}. */
export type ProcessName = (typeof PROCESSES)[number]

/** Everything that runs. */
export interface Stage {
  readonly redis: Redis
  readonly client: PoolClient
  readonly bearer: string
  /** A finished job with many tokens; another one after {@link restart}. */
  readonly knownId: string
  readonly gatewayPort: number
  readonly processes: Readonly<Record<ProcessName, MeasuredProcess>>
  /** Starts what is dead, or all with an empty Redis. */
  restart(how: 'dead' | 'all'): Promise<void>
  close(): Promise<void>
}

const SERVICES = { gateway: 'gateway', worker: 'worker-sim-0' } as const
const SCRIPTS = { gateway: '../../workers/gateway.ts', worker: '../../workers/generate.ts' } as const
const READY = { gateway: /"url":"(http:[^"]+)".*gateway started/, worker: /(worker started)/ } as const

/** Jobs end soon, whatever they are. */
const CONFIG = {
  deadline_ms: 10_000,
  batch_deadline_ms: 10_000,
  max_deadline_ms: 40_000,
  max_new_tokens: 16,
  first_token_timeout_ms: 8000,
} as const
/** Tokens of the job whose events are read again and again. */
const KNOWN_TOKENS = 3000
/** A prompt with `[slow]` runs so long that it can be cancelled (ms). */
const SLOW_MS = 3000

const REDIS_PASSWORD = `${MARK}-redis`
const BEARER = `${MARK}-bearer`
const API_KEY = `${MARK}-api-key`

const SIMULATED = {
  slots: Infinity,
  tokensPerSecond: 1000,
  prefillMs: 0,
  apiKey: API_KEY,
  faults: [{ kind: 'slow-prefill', ms: SLOW_MS, match: '[slow]' }],
} as const

function ignore(): void {}

/** A service of compose.yaml. */
function service(name: ProcessName) {
  const found = COMPOSE.services[SERVICES[name]]
  if (found === undefined) throw new Error(`compose.yaml: expected a service ${SERVICES[name]}, got none`)
  return found
}

/** Starts Redis, a simulator, a gateway and a worker. Their logs go to the folder. */
export async function openStage(folder: string): Promise<Stage> {
  const closing: (() => unknown)[] = []
  const close = async () => {
    for (let step = closing.pop(); step !== undefined; step = closing.pop()) await step()
  }
  try {
    const server = await startRedisServer()
    closing.push(() => server.stop())
    const open = await connectToServer(server.url, { role: 'commands' })
    await open.config('SET', 'requirepass', REDIS_PASSWORD)
    disconnectRedis(open)
    const redisUrl = server.url.replace('//', `//:${REDIS_PASSWORD}@`)
    const redis = await connectToServer(redisUrl, { role: 'commands' })
    closing.push(() => disconnectRedis(redis))
    const simulator = await startSimulatorProcess('sim', SIMULATED, ignore, ignore)
    closing.push(() => simulator.end())
    const bearerFile = join(folder, 'bearer')
    await writeFile(bearerFile, `${BEARER}\n`)
    const own = {
      gateway: {
        TGI_POOL_GATEWAY_HOST: '127.0.0.1',
        TGI_POOL_GATEWAY_PORT: '0',
        TGI_POOL_BEARER_FILE: bearerFile,
      },
      worker: { TGI_POOL: POOL, TGI_REPLICA: simulator.url, TGI_API_KEY: API_KEY, TGI_POOL_HEALTH_PORT: '0' },
    }
    const start = (name: ProcessName): Promise<MeasuredProcess> => {
      const memory = memoryOf(service(name))
      return startMeasuredProcess({
        name,
        script: fileURLToPath(new URL(SCRIPTS[name], import.meta.url)),
        args: [],
        env: { ...service(name).environment, ...own[name], REDIS_URL: redisUrl, NODE_OPTIONS: '' },
        nodeFlags: memory.nodeFlags,
        limitBytes: memory.limitBytes,
        ready: READY[name],
        logPath: join(folder, `${name}.log`),
      })
    }
    const makePool = async () => {
      const made = await openPool({ redisUrl, pool: POOL })
      await made.create(CONFIG)
      return made
    }
    let client = await makePool()
    closing.push(() => client.close())
    const [gateway, worker] = await Promise.all([start('gateway'), start('worker')])
    const processes = { gateway, worker }
    closing.push(() => Promise.all(Object.values(processes).map((each) => each.end())))
    let knownId = await makeKnownJob(client)
    return {
      redis,
      get client() {
        return client
      },
      bearer: BEARER,
      get knownId() {
        return knownId
      },
      get gatewayPort() {
        return Number(new URL(processes.gateway.said).port)
      },
      processes,
      async restart(how) {
        const gone = PROCESSES.filter((name) => how === 'all' || processes[name].death !== undefined)
        await Promise.all(gone.map((name) => processes[name].end()))
        if (how === 'all') {
          await client.close()
          await redis.flushall()
          client = await makePool()
        }
        await Promise.all(gone.map(async (name) => void (processes[name] = await start(name))))
        if (how === 'all') knownId = await makeKnownJob(client)
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** Runs a long job to its end, on a worker that is ready by then. */
async function makeKnownJob(client: PoolClient): Promise<string> {
  while ((await client.replicas())[0]?.state !== 'ready') await sleep(50)
  const parameters = { max_new_tokens: KNOWN_TOKENS }
  const { job_id: jobId } = await client.enqueue({ inputs: `A long story of ${MARK}`, parameters })
  for await (const event of client.events(jobId)) {
    if (event.event === 'error') throw new Error(`the job to read failed: ${JSON.stringify(event.data)}`)
  }
  return jobId
}
