import { readFile } from 'node:fs/promises'

/** One instruction of a Dockerfile. */
export interface Instruction {
  readonly name: string
  readonly text: string
  /** The stage it stands in: the name after AS, or `final`. */
  readonly stage: string
}

/** The instructions of ops/Dockerfile, in order; lines that go on are joined. */
export async function readDockerfile(): Promise<Instruction[]> {
  const text = await readFile(new URL('../../ops/Dockerfile', import.meta.url), 'utf8')
  const lines = text
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n/g, ' ')
    .split('\n')
  let stage = ''
  return lines
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [name = '', ...rest] = line.trim().split(/\s+/)
      if (name === 'FROM') stage = rest[1] === 'AS' ? (rest[2] ?? '') : 'final'
      return { name, text: rest.join(' '), stage }
    })
}
