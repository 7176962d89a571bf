import type { Redis } from 'ioredis'

/** A command of the server, as COMMAND describes it. */
export interface ServerCommand {
  /** e.g. `['xadd']`, `['client', 'list']` */
  readonly name: readonly string[]
  readonly categories: readonly string[]
  /** Where keys are among its arguments; empty for a command without keys. */
  readonly keys: readonly KeySpec[]
  /** How many words it has at least, its name included. */
  readonly words: number
}

/** https://redis.io/docs/latest/develop/reference/key-specs/ */
interface KeySpec {
  readonly begin: { readonly type: string; readonly spec: Readonly<Record<string, unknown>> }
  readonly find: { readonly type: string; readonly spec: Readonly<Record<string, unknown>> }
}

/** Every command that the server knows, subcommands by themselves. */
export async function listCommands(redis: Redis): Promise<ServerCommand[]> {
  const all = (await redis.call('COMMAND')) as unknown[][]
  return all
    .flatMap((info) => parseCommand(info))
    .toSorted((a, b) => (a.name.join(' ') < b.name.join(' ') ? -1 : 1))
}

function parseCommand(info: readonly unknown[]): ServerCommand[] {
  const subcommands = (info[9] ?? []) as unknown[][]
  if (subcommands.length > 0) return subcommands.flatMap((sub) => parseCommand(sub))
  return [
    {
      name: String(info[0]).split('|'),
      categories: (info[6] as string[]).map((category) => category.replace('@', '')),
      keys: ((info[8] ?? []) as unknown[][]).map(parseKeySpec),
      words: Math.abs(Number(info[1])),
    },
  ]
}

function parseKeySpec(spec: readonly unknown[]): KeySpec {
  const { begin_search: begin, find_keys: find } = mapOf(spec)
  return { begin: parsePart(begin), find: parsePart(find) }
}

function parsePart(part: unknown): KeySpec['begin'] {
  const { type, spec } = mapOf(part as unknown[])
  return { type: String(type), spec: mapOf(spec as unknown[]) }
}

/** RESP2 has no maps: names and values in turn. */
function mapOf(flat: readonly unknown[]): Record<string, unknown> {
  const pairs = Array.from({ length: flat.length / 2 }, (_, at) => [String(flat[at * 2]), flat[at * 2 + 1]])
  return Object.fromEntries(pairs) as Record<string, unknown>
}

/** A command with that key wherever it takes one, and with `1` for everything else. */
export function withKey(command: ServerCommand, key: string): string[] {
  const words: string[] = Array.from({ length: command.words }, (_, at) => command.name[at] ?? '1')
  // Redis 8 looks for the keys of this one only where its syntax is right.
  if (command.name[0] === 'xreadgroup') words[1] = 'GROUP'
  const put = (at: number, word: string) => {
    while (words.length <= at) words.push('1')
    words[at] = word
  }
  for (const { begin, find } of command.keys) {
    let at: number
    if (begin.type === 'index') at = Number(begin.spec['index'])
    else if (begin.type === 'keyword') {
      const from = Number(begin.spec['startfrom'])
      const keywordAt = from > 0 ? Math.max(from, command.name.length) : words.length
      put(keywordAt, String(begin.spec['keyword']))
      at = keywordAt + 1
    } else continue
    if (find.type === 'keynum') {
      put(at + Number(find.spec['keynumidx']), '1')
      put(at + Number(find.spec['firstkey']), key)
    } else {
      put(at, key)
      const last = Number(find.spec['lastkey'])
      if (last > 0) for (let more = 1; more <= last; more += Number(find.spec['keystep'])) put(at + more, key)
    }
  }
  return words
}
