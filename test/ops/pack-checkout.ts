import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { copyCheckout, must } from './run.ts'

/** What npm says when it packs. */
export interface Packed {
  readonly filename: string
  readonly files: readonly { readonly path: string }[]
}

/** A clone of the checkout as it stands, uncommitted changes included. */
export async function cloneCheckout(to: string): Promise<void> {
  const git = (...args: readonly string[]) =>
    must('git', ['-c', 'user.name=test', '-c', 'user.email=test@example.com', ...args], { cwd: to })
  const listed = await must('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: new URL('../..', import.meta.url).pathname,
  })
  const tops = listed.split('\n').map((path) => path.split('/')[0] ?? '')
  await copyCheckout([...new Set(tops)].filter(Boolean), to)
  await git('init', '--quiet')
  await git('add', '--all')
  await git('commit', '--quiet', '--message', 'The checkout')
}

/** The package as npm would publish it, from a clone. */
export async function packClone(cwd: string): Promise<Packed> {
  const told = await must('npm', ['pack', '--json'], { cwd })
  // What its scripts say comes before.
  const [packed] = JSON.parse(told.slice(told.search(/^\[$/m))) as [Packed]
  return packed
}

/** A project without anything in it. */
export async function emptyProject(path: string): Promise<string> {
  await mkdir(path)
  await writeFile(join(path, 'package.json'), '{ "name": "empty", "private": true, "type": "module" }')
  return path
}
