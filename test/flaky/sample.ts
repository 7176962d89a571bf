import { spawn } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'vitest'

const FOLDER = process.env['SAMPLE_FOLDER'] ?? ''
const SAMPLE = process.env['SAMPLE']

if (SAMPLE === 'import') throw new Error('this file cannot be imported')

test('a sample passes once', async () => {
  if (SAMPLE === 'hang') {
    const args = ['-e', 'setInterval(() => {}, 1000)']
    const children = [false, true].map((detached) => spawn(process.execPath, args, { detached }))
    writeFileSync(join(FOLDER, 'pids'), JSON.stringify([process.pid, ...children.map(({ pid }) => pid)]))
    await new Promise(() => {})
  }
  const mark = join(FOLDER, 'ran')
  const isSecond = existsSync(mark)
  writeFileSync(mark, '')
  if (SAMPLE === 'second' && isSecond) throw new Error('this was run 2')
})
