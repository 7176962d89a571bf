import { readDockerfile } from './dockerfile.ts'
import type { Service } from './compose-file.ts'

/** How much memory a service may take, and how much of it Node gives to its heap. */
export interface Memory {
  /** The container's `mem_limit`; the kernel kills what goes above it. */
  readonly limitBytes: number
  /** `--max-old-space-size`. */
  readonly oldSpaceBytes: number
  /** `--max-semi-space-size`; the space for new objects takes up to three of them. */
  readonly semiSpaceBytes: number
  /** As Node takes them on its command line. */
  readonly nodeFlags: readonly string[]
}

const MIB = 2 ** 20
const UNITS: Readonly<Record<string, number>> = { k: 1024, m: MIB, g: 1024 * MIB }

/** The flags that the image gives to every Node in it. */
const imageOptions = (await readDockerfile())
  .filter(({ name, stage }) => name === 'ENV' && stage === 'final')
  .map(({ text }) => /NODE_OPTIONS="([^"]*)"/.exec(text)?.[1])
  .find((options) => options !== undefined)

/** The memory of a service that runs our image: its own `NODE_OPTIONS` replace the image's. */
export function memoryOf({ mem_limit: limit = '', environment }: Service): Memory {
  const options = environment?.['NODE_OPTIONS'] ?? imageOptions ?? ''
  return {
    limitBytes: bytesIn(limit),
    oldSpaceBytes: flagIn(options, 'max-old-space-size') * MIB,
    semiSpaceBytes: flagIn(options, 'max-semi-space-size') * MIB,
    nodeFlags: options.split(' ').filter((flag) => flag !== ''),
  }
}

/** `512m` in bytes. */
function bytesIn(text: string): number {
  const [, digits, unit = ''] = /^(\d+)([kmg])b?$/.exec(text) ?? []
  const factor = UNITS[unit]
  if (digits === undefined || factor === undefined)
    throw new Error(`mem_limit: expected e.g. 512m, got ${JSON.stringify(text)}`)
  return Number(digits) * factor
}

/** The value of `--<name>=<MiB>`. */
function flagIn(options: string, name: string): number {
  const value = new RegExp(`--${name}=(\\d+)(?: |$)`).exec(options)?.[1]
  if (value === undefined) throw new Error(`NODE_OPTIONS: expected --${name}=<MiB>, got ${options}`)
  return Number(value)
}
