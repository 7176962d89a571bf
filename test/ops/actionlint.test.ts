import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { run, tempFolder } from './run.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** The linter from the PATH, or built by Go from its module. */
async function findActionlint(folder: string): Promise<string | undefined> {
  if ((await run('actionlint', ['-version'], { cwd: ROOT })).status === 0) return 'actionlint'
  const { status } = await run('go', ['install', 'github.com/rhysd/actionlint/cmd/actionlint@v1.7.12'], {
    cwd: folder,
    env: { GOBIN: folder },
  })
  return status === 0 ? join(folder, 'actionlint') : undefined
}

test('actionlint has nothing to say about the workflows', async ({ skip }) => {
  const folder = await tempFolder()
  try {
    const actionlint = await findActionlint(folder.path)
    if (actionlint === undefined) return skip('neither actionlint nor a Go that builds it is at hand')
    // Without a file it looks for them itself; without one at all it fails.
    const { status, stdout, stderr } = await run(actionlint, ['-no-color'], { cwd: ROOT })
    expect(stdout + stderr).toBe('')
    expect(status).toBe(0)
  } finally {
    await folder.done()
  }
})
