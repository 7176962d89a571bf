import { QUEUE_NAMES, poolKeys } from '../../src/contract/keys.ts'
import { listCommands, withKey } from './commands.ts'
import type { ServerCommand } from './commands.ts'
import { dryRun } from './dry-run.ts'
import type { AclRedis } from './stage.ts'

/** BullMQ's own keys beside those of jobs (BullMQ 6, classes/queue-keys.js). */
const QUEUE_KEYS = [
  'meta',
  'id',
  'pc',
  'wait',
  'paused',
  'active',
  'prioritized',
  'delayed',
  'marker',
  'events',
  'completed',
  'failed',
  'stalled',
  'stalled-check',
  'waiting-children',
  'limiter',
  'repeat',
]

export const A_JOB = '3f2b9c1e-8f1d-4c55-9f0a-2f6f5c1d7e11'

/** A kind of key, as the document names it, and one of its kind. */
type KindOfKey = readonly [name: string, key: string]

/** One key of each kind that a pool has. */
export function kindsOfKeys(pool: string): KindOfKey[] {
  const keys = poolKeys(pool)
  const queue = QUEUE_NAMES.interactive
  return [
    ['pools', keys.pools],
    ['config', keys.config],
    ['replicas', keys.replicas],
    ['lease:<replica-id>', keys.lease('r1')],
    ['drains', keys.drains],
    ['events:<job-id>', keys.events(A_JOB)],
    ['deadlines', keys.deadlines],
    ['index:<state>', keys.index('queued')],
    ['counters', keys.counters],
    ['bytes', keys.bytes],
    ['scan', keys.scan],
    ['jobs:<job-id>', `${keys.queuePrefix}:${queue}:${A_JOB}`],
    ['jobs:<job-id>:lock', `${keys.queuePrefix}:${queue}:${A_JOB}:lock`],
    ...QUEUE_KEYS.map((name): KindOfKey => [`jobs:${name}`, `${keys.queuePrefix}:${queue}:${name}`]),
  ]
}

const CHANNEL_COMMANDS = ['PUBLISH', 'SPUBLISH', 'SUBSCRIBE', 'SSUBSCRIBE', 'PSUBSCRIBE']

/** Runs scripts: no right to any key by itself. */
const isScript = ({ categories, name }: ServerCommand) =>
  categories.includes('scripting') && /^(eval|fcall)/.test(name[0] ?? '')

/** Takes keys; the channels of SPUBLISH are told like keys and are none. */
export const isKeyed = (command: ServerCommand) =>
  command.keys.length > 0 && !isScript(command) && !command.categories.includes('pubsub')

/** The commands that a user may run on a key, as if they were its only ones. */
export async function allowedOn(
  acl: Pick<AclRedis, 'adminUrl'>,
  user: string,
  commands: readonly ServerCommand[],
  key: string,
): Promise<string[]> {
  const keyed = commands.filter(isKeyed)
  const may = await dryRun(
    acl,
    user,
    keyed.map((command) => withKey(command, key)),
  )
  return keyed.filter((_, at) => may[at]).map(({ name }) => name.join(' ').toUpperCase())
}

/** Commands without a key, but those by which every user manages its own connection. */
async function allowedWithoutKey(
  acl: Pick<AclRedis, 'adminUrl'>,
  user: string,
  commands: readonly ServerCommand[],
): Promise<string[]> {
  const free = commands.filter((command) => !isKeyed(command))
  const words = free.map((command) =>
    isScript(command) ? [...command.name, 'return 1', '0'] : withKey(command, ''),
  )
  const may = await dryRun(acl, user, words)
  return free
    .filter(({ categories, name }, at) => {
      const isOwn = categories.includes('connection') && !categories.includes('dangerous')
      return may[at] && !isOwn && !CHANNEL_COMMANDS.includes(String(name[0]).toUpperCase())
    })
    .map(({ name }) => name.join(' ').toUpperCase())
}

/** The same for a channel. */
export async function allowedOnChannel(
  acl: Pick<AclRedis, 'adminUrl'>,
  user: string,
  channel: string,
): Promise<string[]> {
  const words = CHANNEL_COMMANDS.map((name) =>
    name.includes('PUBLISH') ? [name, channel, 'x'] : [name, channel],
  )
  const may = await dryRun(acl, user, words)
  return CHANNEL_COMMANDS.filter((_, at) => may[at])
}

/** Rows of what and which commands; what has the same commands shares a row. */
export async function rightsOf(acl: AclRedis, user: string, pool: string): Promise<Map<string, string[]>> {
  const commands = await listCommands(acl.admin)
  const rows: [string, string[]][] = [['no key', await allowedWithoutKey(acl, user, commands)]]
  for (const [name, key] of kindsOfKeys(pool)) {
    const names = await allowedOn(acl, user, commands, key)
    rows.push([`\`${name}\``, names.length > 50 ? summary(commands, names) : names])
  }
  const { cancelChannel, controlChannel } = poolKeys(pool)
  rows.push(['channel `cancel`', await allowedOnChannel(acl, user, cancelChannel)])
  rows.push(['channel `control`', await allowedOnChannel(acl, user, controlChannel)])
  return new Map(rows.filter(([, names]) => names.length > 0))
}

/** A hundred names would say less. */
function summary(commands: readonly ServerCommand[], names: string[]): string[] {
  const whole = commands.filter(
    (command) =>
      isKeyed(command) &&
      command.categories.some((category) => ['read', 'write', 'transaction'].includes(category)) &&
      !command.categories.some((category) => category === 'dangerous' || category === 'admin'),
  )
  const all = whole.map(({ name }) => name.join(' ').toUpperCase())
  return names.join() === all.join()
    ? ['every command that reads or writes keys, but `@dangerous` ones']
    : names
}
