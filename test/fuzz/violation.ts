import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ProcessName } from './stage.ts'
import type { Conversation, Shot } from './shot.ts'

/** What must hold. */
type Check = 'alive' | 'block' | 'memory' | 'retained' | 'answer' | 'job' | 'good job' | 'leak'

/** A request or job that was drawn. */
export interface ShotName {
  readonly generator: string
  readonly shot: number
}

/** Something that did not hold. */
export interface Violation extends ShotName {
  readonly check: Check
  readonly process?: ProcessName | undefined
  readonly expected: string
  readonly got: string
  /** What was sent, cut. */
  readonly file: string
}

const CUT = 2000

/** Writes what was sent into a file of the folder, each part cut. @returns its path. */
export function writeShot(folder: string, { generator, shot: number }: ShotName, shot: Shot): string {
  const path = join(folder, `${generator}-${number}.txt`)
  const lines =
    shot.kind === 'job'
      ? shot.commands.map((words) => words.map((word) => cut(word)).join(' '))
      : shot.conversations.slice(0, 20).map(formatConversation)
  writeFileSync(path, `${lines.join('\n\n')}\n`)
  return path
}

function formatConversation({ pieces, ending }: Conversation): string {
  const parts = pieces
    .slice(0, 50)
    .map((piece) => (typeof piece === 'number' ? `(wait ${piece} ms)` : cut(piece)))
  const more = pieces.length > 50 ? `\n(and ${pieces.length - 50} pieces more)` : ''
  return `${parts.join('\n')}${more}\n(${ending})`
}

function cut(part: string | Buffer): string {
  const length = Buffer.byteLength(part)
  const text = part.slice(0, CUT).toString(typeof part === 'string' ? undefined : 'latin1')
  return length > CUT ? `${text}… (${length} bytes)` : text
}

/** One violation, for people. */
export function formatViolation(
  seed: number,
  { check, process: name, generator, shot, expected, got, file }: Violation,
): string {
  return (
    `${check}${name === undefined ? '' : ` of ${name}`}: ${generator}, shot ${shot}\n` +
    `  expected ${expected}\n  got      ${got}\n  sent     ${file}\n` +
    `  replay   npm run fuzz -- --seed ${seed} --only ${generator} --shot ${shot}\n`
  )
}
