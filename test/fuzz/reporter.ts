import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Shot } from './shot.ts'
import { writeShot } from './violation.ts'
import type { ShotName, Violation } from './violation.ts'

/** Takes down what a run sends and what does not hold. */
export interface Reporter {
  readonly violations: readonly Violation[]
  report(name: ShotName, sent: Shot, violation: Omit<Violation, 'generator' | 'shot' | 'file'>): void
  /** Adds a line to the file of all shots. */
  note(line: object): void
  say(line: string): void
  /** How often a generator has failed. */
  failuresOf(generator: string): number
}

/** Writes into a folder; `say` gets what people should see at once. */
export function createReporter(folder: string, say: (line: string) => void): Reporter {
  const violations: Violation[] = []
  const path = join(folder, 'shots.jsonl')
  const note = (line: object) => appendFileSync(path, `${JSON.stringify(line)}\n`)
  return {
    violations,
    note,
    say,
    report(name, sent, violation) {
      const whole = { ...name, ...violation, file: writeShot(folder, name, sent) }
      violations.push(whole)
      note(whole)
      const { check, process = '', expected, got } = violation
      say(
        `VIOLATION ${check} ${process} ${name.generator} shot ${name.shot}: expected ${expected}, got ${got}`,
      )
    },
    failuresOf: (name) => violations.filter(({ generator }) => generator === name).length,
  }
}
