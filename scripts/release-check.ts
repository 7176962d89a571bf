/**
 * Checks that this commit can be released, and changes nothing: npm run release:check. In the release workflow GITHUB_REF_NAME is
 * the tag, which must be there; elsewhere it must not be there yet.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The inputs of the check. */
export interface ReleaseFacts {
  /** In package.json. */
  readonly version: string
  readonly lockVersion: string
  readonly changelog: string
  /** What `git status --porcelain` prints. */
  readonly status: string
  readonly tags: readonly string[]
  /** The tag that is being released, if it has been made. */
  readonly tag?: string | undefined
}

/** The reasons why this cannot be released, one sentence each. */
export function releaseFaults(facts: ReleaseFacts): string[] {
  const { version, lockVersion, changelog, status, tags, tag } = facts
  const faults: string[] = []
  if (!/^\d+\.\d+\.\d+(-[a-z]+\.\d+)?$/.test(version))
    faults.push(`package.json: expected a version such as 1.2.3 or 1.2.3-rc.1, got ${version}`)
  if (lockVersion !== version)
    faults.push(`package-lock.json: expected version ${version}, got ${lockVersion}`)
  const heading = /^## .*$/m.exec(changelog)?.[0] ?? 'none'
  if (!heading.startsWith(`## ${version} (`) || !/ \(\d{4}-\d\d-\d\d\)$/.test(heading))
    faults.push(`CHANGELOG.md: expected "## ${version} (<date>)" as first heading, got "${heading}"`)
  if (status !== '')
    faults.push(`git: expected no uncommitted change, got ${status.trim().split('\n').length}`)
  if (tag === undefined && tags.includes(`v${version}`))
    faults.push(`git: the tag v${version} exists already; expected a new version`)
  if (tag !== undefined && tag !== `v${version}`) faults.push(`git: expected tag v${version}, got ${tag}`)
  return faults
}

function output(command: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: ROOT, encoding: 'utf8' })
  if (status === 0) return stdout
  throw new Error(`${command} ${args.join(' ')} failed: ${error?.message ?? stderr}`)
}

const ROOT = fileURLToPath(new URL('..', import.meta.url))

function main(): void {
  const json = (name: string) => JSON.parse(readFileSync(`${ROOT}${name}`, 'utf8')) as { version: string }
  const { version } = json('package.json')
  const faults = releaseFaults({
    version,
    lockVersion: json('package-lock.json').version,
    changelog: readFileSync(`${ROOT}CHANGELOG.md`, 'utf8'),
    status: output('git', ['status', '--porcelain']),
    tags: output('git', ['tag']).split('\n'),
    tag: process.env['GITHUB_REF_TYPE'] === 'tag' ? process.env['GITHUB_REF_NAME'] : undefined,
  })
  for (const fault of faults) process.stderr.write(`${fault}\n`)
  if (faults.length > 0) process.exitCode = 1
  else process.stdout.write(`tgi-pool ${version} can be released\n`)
}

if (import.meta.main) main()
