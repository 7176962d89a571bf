import { spawnSync } from 'node:child_process'
import { cpus, loadavg, release, totalmem, type } from 'node:os'
import { findRedisBinary } from '../../src/redis/server.ts'
import { rounded } from './statistics.ts'

/** Where the figures come from; figures of two machines do not compare. */
export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memory_gib: number
  /** Name and release. */
  readonly kernel: string
  readonly node: string
  /** Program, version, and how it was set. */
  readonly redis: string
  /** One minute's load average before the first bench: above 0.5 something else was running too. */
  readonly load_before: number
  /** When the first bench began (ISO 8601, UTC). */
  readonly date: string
}

/** Describes the machine as it is now. */
export function describeMachine(): Machine {
  const processors = cpus()
  const binary = findRedisBinary()
  const version =
    /v=(\S+)/.exec(spawnSync(binary, ['--version'], { encoding: 'utf8' }).stdout)?.[1] ?? 'unknown'
  return {
    cpu: processors[0]?.model.trim() ?? 'unknown',
    cores: processors.length,
    memory_gib: rounded(totalmem() / 2 ** 30),
    kernel: `${type()} ${release()}`,
    node: process.version,
    redis: `${binary} ${version}, append-only file off, loopback`,
    load_before: rounded(loadavg()[0] ?? 0),
    date: new Date().toISOString(),
  }
}
