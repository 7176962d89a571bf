import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

/** A file of bearer keys that is gone after the test. */
export async function keyFile(...keys: readonly string[]): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-keys-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  const file = join(dir, 'bearer')
  await writeFile(file, keys.join('\n'))
  return file
}
