import type { Command } from 'commander'
import { jsonLine } from '../contract/json-line.ts'
import type { ReplicaEntry } from '../contract/replica-entry.ts'
import { usingPool, withPool } from './options.ts'
import type { PoolFlags } from './options.ts'
import { out } from './print.ts'
import { createTable } from './table.ts'

/** `tgi-pool replicas`. */
export function addReplicas(program: Command): void {
  const command = program
    .command('replicas')
    .description("List a pool's replicas and their state")
    .option('--json', 'one JSON array')
  withPool(command).action(async (flags: PoolFlags & { json?: boolean }) => {
    const replicas = await usingPool(flags, (pool) => pool.replicas())
    out(flags.json === true ? `${jsonLine(replicas)}\n` : table(replicas))
  })
}

function table(replicas: readonly ReplicaEntry[]): string {
  if (replicas.length === 0) return 'no replicas; start one with: tgi-pool worker\n'
  const rows = replicas.map((replica) => [
    replica.replica_id,
    replica.state,
    `${replica.busy}/${replica.slots}`,
    replica.versions?.engine_version ?? '–',
    replica.versions?.model_id ?? '–',
    replica.url,
    replica.reason ?? '',
  ])
  return createTable(['REPLICA', 'STATE', 'BUSY', 'ENGINE', 'MODEL', 'URL', ''])(rows)
}
