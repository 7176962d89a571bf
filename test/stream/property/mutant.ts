import { randomUUID } from 'node:crypto'
import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { pathToFileURL } from 'node:url'
import { loadModules, SOURCES } from './modules.ts'
import type { Modules } from './modules.ts'

/** One change to one file. */
export interface Mutation {
  /** Within `src`. */
  readonly file: string
  /** In the file exactly once. */
  readonly text: string
  readonly becomes: string
}

/** The sources with one change. */
interface Copy {
  /** As `src`. */
  readonly folder: URL
  readonly remove: () => Promise<void>
}

/** The same, loaded. */
export interface Mutant {
  readonly modules: Modules
  remove(): Promise<void>
}

/** A copy below node_modules still finds its packages. */
const CACHE = new URL('../../../node_modules/.cache/tgi-pool-mutants/', import.meta.url)

/** Copies the sources and makes the change; throws when the text is not there exactly once. */
export async function copyMutant({ file, text, becomes }: Mutation): Promise<Copy> {
  const folder = new URL(`${randomUUID()}/`, CACHE)
  const remove = () => rm(folder, { recursive: true, force: true })
  try {
    await cp(SOURCES, folder, { recursive: true })
    const target = new URL(file, folder)
    const source = await readFile(target, 'utf8')
    const found = source.split(text).length - 1
    if (found !== 1) throw new Error(`${file}: expected to find once, found ${found} times: ${text}`)
    await writeFile(
      target,
      source.replace(text, () => becomes),
    )
    return { folder: pathToFileURL(folder.pathname), remove }
  } catch (error) {
    await remove()
    throw error
  }
}

/** Copies and loads. */
export async function loadMutant(mutation: Mutation): Promise<Mutant> {
  const { folder, remove } = await copyMutant(mutation)
  try {
    return { modules: await loadModules(folder), remove }
  } catch (error) {
    await remove()
    throw error
  }
}
