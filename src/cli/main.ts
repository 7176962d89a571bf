#!/usr/bin/env node
import { enableCompileCache } from 'node:module'

/** The command `tgi-pool`. Looks at Node first: what it imports does not load on an old one. */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(
    `tgi-pool: expected Node 22.19 or newer, got ${process.versions.node} (${process.execPath}). In a checkout, run it as: npm run -s tgi-pool -- …\n`,
  )
  process.exit(2)
}
// Compiled code is kept between runs: half of a short verb's time is compiling.
enableCompileCache()
const { runCli } = await import('./program.ts')
const status = await runCli(process.argv)
process.exitCode = status
// Under npm a Ctrl-C comes twice. Left to end by itself, Node takes its handlers down first, and the second one kills.
if (status === 130) process.exit()
