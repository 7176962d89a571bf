import type { RedisConnection } from '../redis/connect.ts'
import { AT_LIMIT } from '../redis/at-limit.ts'

/** BullMQ's scripts by which jobs run, move, and leave their queue. */
const MOVES: ReadonlySet<string> = new Set([
  'changePriority',
  'extendLocks',
  'moveJobFromActiveToWait',
  'moveStalledJobsToWait',
  'moveToActive',
  'moveToDelayed',
  'moveToFinished',
  'removeJob',
  'updateProgress',
])

const done = new WeakSet<RedisConnection>()

/**
 * Lets BullMQ's scripts run on a connection also when Redis is out of memory, except those that add jobs. To be called before
 * BullMQ gets the connection: it teaches each connection its scripts once, as `<script>:<version>`
 * (bullmq/dist/esm/classes/redis-connection.js, `loadCommands`).
 */
export function runAtLimit(connection: RedisConnection): void {
  if (done.has(connection)) return
  done.add(connection)
  const define = connection.defineCommand.bind(connection)
  connection.defineCommand = (name, definition) => {
    const [script = '', version] = name.split(':')
    const moves = version !== undefined && MOVES.has(script)
    define(name, moves ? { ...definition, lua: AT_LIMIT + definition.lua } : definition)
  }
}
