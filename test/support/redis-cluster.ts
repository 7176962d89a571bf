import { expect, onTestFinished } from 'vitest'
import type { Redis } from 'ioredis'
import { connectToServer } from '../../src/redis/connect.ts'
import { freePort, startRedisServer } from '../../src/redis/server.ts'
import type { RedisServer } from '../../src/redis/server.ts'

/** A real Redis Cluster of three primaries on loopback. */
export interface RedisCluster {
  /** The address of one of its nodes. */
  readonly url: string
  readonly port: number
  /** The primaries as they were at the start; each has a third of the slots, in this order. */
  readonly primaries: readonly RedisServer[]
  /** One for each primary, in the same order, if asked for. */
  readonly replicas: readonly RedisServer[]
  /** A connection to one node alone. */
  readonly connect: (node: RedisServer) => Promise<Redis>
  /** Ends every node. Idempotent. */
  readonly stop: () => Promise<void>
}

const SLOTS = 16_384
const PRIMARIES = 3
/** After this silence a node is taken for dead, and its replica may take over (ms). */
const NODE_TIMEOUT_MS = 1000

/** Starts a Cluster and resolves when every node says that it is whole. */
export async function startRedisCluster(options: { replicas?: boolean } = {}): Promise<RedisCluster> {
  const count = options.replicas === true ? 2 * PRIMARIES : PRIMARIES
  const started = await Promise.allSettled(Array.from({ length: count }, startNode))
  const nodes = started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  const lines: Redis[] = []
  async function connect(node: RedisServer): Promise<Redis> {
    const line = await connectToServer(node.url, { role: 'commands' })
    lines.push(line)
    return line
  }
  async function stop(): Promise<void> {
    for (const line of lines) line.disconnect()
    await Promise.all(nodes.map((node) => node.stop()))
  }
  try {
    for (const one of started) if (one.status === 'rejected') throw one.reason
    const all = await Promise.all(nodes.map(connect))
    await join(nodes, all)
    const [first] = nodes
    if (first === undefined) throw new Error('no node')
    const primaries = nodes.slice(0, PRIMARIES)
    return { url: first.url, port: first.port, primaries, replicas: nodes.slice(PRIMARIES), connect, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** A Cluster for one test, which may ill-treat it. */
export async function ownCluster(options?: { replicas?: boolean }): Promise<RedisCluster> {
  const cluster = await startRedisCluster(options)
  onTestFinished(() => cluster.stop())
  return cluster
}

/** Its second port may be taken by the time it binds it, as the first may: then another one is tried. */
async function startNode(): Promise<RedisServer> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await startOnce()
    } catch (error) {
      if (tries >= 5) throw error
    }
  }
}

async function startOnce(): Promise<RedisServer> {
  return startRedisServer({
    args: [
      '--cluster-enabled yes',
      `--cluster-node-timeout ${NODE_TIMEOUT_MS}`,
      // Its own choice is 10,000 above the other one, which may be no port at all.
      `--cluster-port ${await freePort()}`,
      '--repl-diskless-sync-delay 0',
    ].flatMap((setting) => setting.split(' ')),
  })
}

async function join(nodes: readonly RedisServer[], lines: readonly Redis[]): Promise<void> {
  const [first] = lines
  const ids = await Promise.all(lines.map((line) => line.cluster('MYID')))
  for (const [index, line] of lines.slice(0, PRIMARIES).entries()) {
    const from = Math.floor((index * SLOTS) / PRIMARIES)
    const to = Math.floor(((index + 1) * SLOTS) / PRIMARIES) - 1
    await line.call('CLUSTER', 'ADDSLOTSRANGE', from, to)
    await line.cluster('SET-CONFIG-EPOCH', index + 1)
  }
  for (const [index, line] of lines.entries()) {
    if (index === 0) continue
    const [, bus = ''] = await line.config('GET', 'cluster-port')
    await first?.call('CLUSTER', 'MEET', '127.0.0.1', nodes[index]?.port ?? 0, bus)
  }
  await everyNode(lines, `cluster_known_nodes:${lines.length}`)
  for (const [index, line] of lines.slice(PRIMARIES).entries()) {
    // It may not have heard of its primary yet.
    await expect.poll(() => line.cluster('NODES')).toContain(ids[index])
    await line.cluster('REPLICATE', ids[index] ?? '')
  }
  await everyNode(lines, 'cluster_state:ok')
  if (lines.length > PRIMARIES) await Promise.all(lines.slice(0, PRIMARIES).map(hasCopied))
}

/** A replica that says that its line is up may still have been told nothing; what it confirms, it has. */
async function hasCopied(primary: Redis): Promise<void> {
  await expect
    .poll(
      async () => {
        await primary.call('FUNCTION', 'FLUSH')
        return primary.wait(1, 1000)
      },
      { timeout: 20_000 },
    )
    .toBe(1)
}

async function everyNode(lines: readonly Redis[], what: string): Promise<void> {
  for (const line of lines) await expect.poll(() => line.cluster('INFO'), { interval: 20 }).toContain(what)
}
