/**
 * What is known of clusters, and how to reach the shard of a pool.
 *
 * All keys of a pool carry its hash tag, so they are on one shard. Whoever works for one pool (worker, readers) has
 * plain connections to that shard's primary: what a role promises about sending again, and whose clock TIME is, is then
 * the same as on a single server. Whoever works for all pools has a Cluster, which routes each command.
 *
 * Any node knows where a slot is. A primary that was replaced is found out in three ways: it is gone (the line breaks),
 * it says so (MOVED, READONLY: connect.ts lets go of the line), or it is silent (`socketTimeout`). Each time the
 * connection asks anew which node to go to.
 */
import { Cluster, Command, Redis } from 'ioredis'
import type { RedisOptions } from 'ioredis'
import { within } from '../runtime/within.ts'

/** Where a node listens. */
export interface ClusterNode {
  readonly host: string
  readonly port: number
}

/** A cluster behind an address. */
export interface SeenCluster {
  /** Nodes that were seen last, the address itself among them: whichever of them dies, another one is asked. */
  readonly nodes: ClusterNode[]
  /** How to be let in, the same for every node. */
  readonly access: Pick<RedisOptions, 'username' | 'password' | 'tls' | 'family'>
}

/** How long one node may take to say where the slots are (ms). */
const ASK_MS = 1000

/**
 * By address. A process that has seen the cluster once finds it again without the node that its address names; one
 * that starts needs that node, or a name that leads to several.
 */
const seenClusters = new Map<string, SeenCluster>()

/** The cluster that this process has seen behind an address. */
export function seenCluster(url: string): SeenCluster | undefined {
  return seenClusters.get(url)
}

/** Keeps in mind that the server behind an address is a node of a cluster. */
export function rememberCluster(url: string, entry: Redis): SeenCluster {
  const { host = 'localhost', port = 6379, username, password, tls, family } = entry.options
  const access = { username, password, ...(tls === undefined ? {} : { tls }), family }
  const seen = { nodes: [{ host, port }], access }
  seenClusters.set(url, seen)
  return seen
}

/** Another server is behind that address now. */
export function forgetCluster(url: string): void {
  seenClusters.delete(url)
}

/** Takes note of the nodes of a cluster as they are now. */
export function noteNodes(seen: SeenCluster, nodes: readonly ClusterNode[]): void {
  const [address] = seen.nodes
  const others = nodes.filter(({ host, port }) => host !== address?.host || port !== address.port)
  seen.nodes.splice(1, Infinity, ...others)
}

/** The slot of a key. */
export function slotOf(key: string): number {
  return new Command('exists', [key]).getSlot()
}

/**
 * The primary that serves a slot, as the first node says that answers; the address itself when none does, so that
 * connecting to it shows what is wrong.
 */
export async function findPrimary(
  seen: SeenCluster,
  slot: number,
  signal: AbortSignal,
): Promise<ClusterNode> {
  // Not always the same one first: it may be cut off from the others, and have an outdated view.
  const nodes = seen.nodes.toSorted(() => Math.random() - 0.5)
  for (const node of nodes) {
    if (signal.aborted) break
    const ranges = await askSlots(seen, node).catch(() => [])
    const range = ranges.find(({ from, to }) => from <= slot && slot <= to)
    if (range?.nodes[0] === undefined) continue
    noteNodes(
      seen,
      ranges.flatMap((one) => one.nodes),
    )
    return range.nodes[0]
  }
  return seen.nodes[0] ?? { host: 'localhost', port: 6379 }
}

interface SlotRange {
  readonly from: number
  readonly to: number
  /** The primary first. */
  readonly nodes: readonly ClusterNode[]
}

async function askSlots(seen: SeenCluster, node: ClusterNode): Promise<SlotRange[]> {
  const line = new Redis({
    ...seen.access,
    ...node,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    enableReadyCheck: false,
    connectTimeout: ASK_MS,
    disconnectTimeout: 200,
  })
  line.on('error', () => undefined)
  try {
    const asked = line.cluster('SLOTS') as Promise<unknown>
    return (await within(asked, ASK_MS)) ? parseSlots(await asked, node.host) : []
  } finally {
    line.disconnect()
  }
}

/** Reads the answer of CLUSTER SLOTS; a node without a name of its own is where we asked. */
function parseSlots(reply: unknown, askedHost: string): SlotRange[] {
  return (reply as [number, number, ...[string | null, number][]][]).map(([from, to, ...nodes]) => ({
    from,
    to,
    nodes: nodes.map(([host, port]) => ({ host: host === null || host === '' ? askedHost : host, port })),
  }))
}

/**
 * A Cluster whose commands have a time limit wherever they wait, and an end when it is left, as those of a single
 * connection have: ioredis 6 forgets what waits for a Cluster that is left between two tries to connect, and holds for
 * ever what is sent to one that was left.
 */
export class BoundCluster extends Cluster {
  private readonly waiting = new Set<Command>()
  private over = false

  override disconnect(reconnect = false): void {
    if (!reconnect) this.over = true
    super.disconnect(reconnect)
    if (this.over) for (const command of this.waiting) command.reject(closed())
  }

  override sendCommand(...args: Parameters<Cluster['sendCommand']>): unknown {
    const [command] = args
    if (this.over) {
      command.reject(closed())
      return command.promise
    }
    const limit = this.options.redisOptions?.commandTimeout
    if (limit !== undefined) command.setTimeout(limit)
    const done = () => this.waiting.delete(command)
    this.waiting.add(command)
    command.promise.then(done, done)
    return super.sendCommand(...args)
  }
}

/** The words of ioredis. */
function closed(): Error {
  return new Error('Connection is closed.')
}

/** The connection of a Cluster to the primary of a key's slot; undefined while it is not known. */
export function primaryOf(cluster: Cluster, key: string): Redis | undefined {
  const place = cluster.slots[slotOf(key)]?.[0]
  return cluster.nodes('master').find(({ options }) => `${options.host}:${options.port}` === place)
}
