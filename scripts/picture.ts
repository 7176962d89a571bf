/**
 * Generates `docs/demo.svg`, the picture in README.md: records a real run (real Redis, two worker processes, simulated
 * replicas) in which the worker that runs a job is killed with `kill -9`, and draws it. `docs/demo.json` is the recording;
 * `--draw` only draws it again.
 *
 * npm run picture
 */
import { readFile, writeFile } from 'node:fs/promises'
import { draw } from './picture/draw.ts'
import { record } from './picture/record.ts'
import type { Recording } from './picture/record.ts'

const RECORDING = new URL('../docs/demo.json', import.meta.url)
const PICTURE = new URL('../docs/demo.svg', import.meta.url)

if (!process.argv.includes('--draw')) {
  await writeFile(RECORDING, `${JSON.stringify(await record(), undefined, 1)}\n`)
}
await writeFile(PICTURE, draw(JSON.parse(await readFile(RECORDING, 'utf8')) as Recording))
