import { chmod, cp, mkdir, readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readDockerfile } from '../ops-files/dockerfile.ts'
import { copyCheckout, must, run, tempFolder } from './run.ts'
import { serveOneJob } from './serve-one-job.ts'

/**
 * No Docker engine is needed: the steps of ops/Dockerfile are done in folders, a folder a stage, and what would be
 * /app of the image is run by a user who may not write to it.
 */
const root = process.getuid?.() === 0
const uid = root ? 1000 : undefined
let app = ''
let done: (() => Promise<void>) | undefined

beforeAll(async () => {
  const folder = await tempFolder()
  done = async () => {
    await must('chmod', ['-R', 'u+w', folder.path], { cwd: '/' })
    await folder.done()
  }
  await chmod(folder.path, 0o755)
  app = await build(folder.path)
  await must('chmod', ['-R', 'a-w', app], { cwd: '/' })
})

afterAll(() => done?.())

/** Does the steps; answers the folder of the last stage. */
async function build(folder: string): Promise<string> {
  const appOf = (stage: string) => join(folder, stage)
  for (const { name, text, stage } of await readDockerfile()) {
    const here = appOf(stage)
    const words = text.split(' ')
    if (name === 'FROM') {
      await mkdir(here, { recursive: true })
      const [from = ''] = words
      if (from in stages) await cp(appOf(from), here, { recursive: true, verbatimSymlinks: true })
      stages[stage] = true
    } else if (name === 'RUN') {
      await must('sh', ['-c', text], { cwd: here })
    } else if (name === 'COPY' && words[0]?.startsWith('--from=') === true) {
      const [from = '', source = '', target = ''] = words
      await must(
        'cp',
        ['-a', source.replace('/app', appOf(from.slice('--from='.length))), join(here, target)],
        { cwd: here },
      )
    } else if (name === 'COPY') {
      await copyCheckout(words.slice(0, -1), here)
      // Folders keep their path, as every COPY of ours wants it.
      for (const source of words.slice(0, -1))
        await stat(join(here, words.at(-1) ?? '', ...tail(source, words.at(-1))))
    }
  }
  return appOf('final')
}

const stages: Record<string, true> = {}

/** What of a source's path stands below the target of its COPY. */
function tail(source: string, target = ''): string[] {
  if (target === source) return []
  return [target === './' ? source : source.slice(dirname(source).length + 1)]
}

test('the image does a job: its simulator, its worker and its command, by a user who may only read', async () => {
  expect(await serveOneJob({ cwd: app, root: 'dist', uid })).not.toBe('')
})

test('the image makes secrets and looks after its health', async () => {
  const secrets = await tempFolder()
  try {
    await must(process.execPath, ['ops/make-secrets.ts', 'ops/redis.acl', secrets.path], { cwd: app })
    expect((await readdir(secrets.path)).toSorted()).toContain('redis')
    const { status } = await run(process.execPath, ['ops/is-up.ts', 'http://127.0.0.1:9/livez'], { cwd: app })
    expect(status).toBe(1)
  } finally {
    await secrets.done()
  }
})

test('the image holds packages for production alone, no Node but its own, and is small', async () => {
  const packages = await readdir(join(app, 'node_modules'))
  for (const tool of ['typescript', 'vitest', 'oxlint', 'tgi-pool-node', 'tgi-pool-docs', '@types'])
    expect(packages).not.toContain(tool)
  expect(await readdir(join(app, 'node_modules', '.bin'))).not.toContain('node')
  expect((await readdir(app)).toSorted()).toEqual(['LICENSE', 'dist', 'node_modules', 'ops', 'package.json'])
  const kilobytes = Number((await must('du', ['-sk', app], { cwd: '/' })).split('\t')[0])
  console.info(`/app of the image: ${Math.round(kilobytes / 1024)} MB on disk`)
  expect(kilobytes).toBeLessThan(60 * 1024)
})
