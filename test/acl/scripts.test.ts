import { readFile, readdir } from 'node:fs/promises'
import { expect } from 'vitest'
import { QUEUE_NAMES } from '../../src/contract/keys.ts'
import { test } from './stage.ts'
import type { AclRedis, Role } from './stage.ts'

const QUEUES = Object.values(QUEUE_NAMES)
const SCRIPTS = new URL('../../node_modules/bullmq/dist/esm/scripts/', import.meta.url)

/** The commands of BullMQ's scripts. */
async function commandsOf(): Promise<Set<string>> {
  const files = (await readdir(SCRIPTS)).filter((file) => /-\d+\.js$/.test(file))
  const texts = await Promise.all(files.map((file) => readFile(new URL(file, SCRIPTS), 'utf8')))
  const calls = /(?:rcall|redis\.p?call)\(\s*["'](\w+)["']/g
  return new Set(
    texts.flatMap((text) => [...text.matchAll(calls)].map(([, name = '']) => name.toLowerCase())),
  )
}

/** The commands that a role may not run on a key of a queue. */
async function missing(
  { admin }: AclRedis,
  role: Role,
  commands: Iterable<string>,
  queue: string,
): Promise<string[]> {
  // Longer than any name of BullMQ's own, as a part of a job is.
  const key = `tgi-pool:{p}:${queue}:job-1:part`
  const left: string[] = []
  for (const name of commands) {
    const [info] = (await admin.call('COMMAND', ['INFO', name])) as [[string, number]]
    const args = Array.from({ length: Math.abs(info[1]) - 1 }, () => key)
    const answer = await admin.call('ACL', ['DRYRUN', role, name, ...args])
    if (answer !== 'OK') left.push(name)
  }
  return left
}

test.for(QUEUES)('a worker may run every command of every script of BullMQ on %s', async (queue, { acl }) => {
  const commands = await commandsOf()
  expect(commands.size).toBeGreaterThan(40)
  // They name no key, or only where they read streams of the queue's own.
  for (const name of ['time', 'xread']) commands.delete(name)
  expect(await missing(acl, 'worker', commands, queue)).toEqual([])
})
