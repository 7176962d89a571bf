import { spawnSync } from 'node:child_process'
import { findRedisBinary } from '../../src/redis/server.ts'

/** What a run of the tests stands on: the version of Node, then name and version of the server, e.g. `Valkey 8.1.1`. */
export interface Versions {
  readonly node: string
  readonly redis: string
}

/**
 * Runs once before all tests of a run and prints what they stand on. With `EXPECTED_NODE` or `EXPECTED_REDIS` (e.g.
 * `22.19`, `Valkey 8`) the run fails on any other version, so a run that is meant for one cannot pass on another.
 */
export default function checkVersions(): void {
  const versions = readVersions()
  process.stdout.write(`Node ${versions.node}, ${versions.redis}\n`)
  const wrong = wrongVersions(versions, process.env)
  if (wrong.length > 0) throw new Error(wrong.join('; '))
}

function readVersions(): Versions {
  const { stdout } = spawnSync(findRedisBinary(), ['--version'], { encoding: 'utf8' })
  const [, name = stdout.trim(), version = ''] = /^(\w+) server v=(\S+)/.exec(stdout) ?? []
  return { node: process.versions.node, redis: `${name} ${version}`.trim() }
}

/** One sentence for each expected version that is another one; whole parts count: `22.1` does not expect `22.19.0`. */
export function wrongVersions(
  versions: Versions,
  expected: { readonly EXPECTED_NODE?: string | undefined; readonly EXPECTED_REDIS?: string | undefined },
): string[] {
  const pairs = [
    ['EXPECTED_NODE', expected.EXPECTED_NODE, versions.node],
    ['EXPECTED_REDIS', expected.EXPECTED_REDIS, versions.redis],
  ] as const
  return pairs.flatMap(([name, want, got]) =>
    !want || `${got}.`.startsWith(`${want}.`) ? [] : [`${name}: expected ${want}, got ${got}`],
  )
}
