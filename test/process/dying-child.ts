/** A consumer in a process of its own that is killed by each job it takes, before it has looked at it or written anything. */
import { poolKeys } from '../../src/contract/keys.ts'
import { startConsumer } from '../../src/queue/consumer.ts'
import { connectToShard } from '../../src/redis/connect.ts'

const { redisUrl, pool, lockMs } = JSON.parse(process.argv[2] ?? '') as {
  redisUrl: string
  pool: string
  lockMs: number
}
const keys = poolKeys(pool)
const consumer = startConsumer({
  connection: await connectToShard(redisUrl, keys.config, { role: 'queue' }),
  keys,
  slots: 1,
  lockMs,
  stalledIntervalMs: 200,
  maxDeaths: () => Infinity,
  giveUp: async () => false,
  onError: () => undefined,
  run() {
    process.kill(process.pid, 'SIGKILL')
    return new Promise(() => undefined)
  },
})
consumer.open()
