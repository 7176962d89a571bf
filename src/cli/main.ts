import '../runtime/need-node.ts'
import module from 'node:module'

/** The command `tgi-pool`, behind `bin/tgi-pool.cjs`. */
// Compiled code is kept between runs: half of a short verb's time is compiling.
module.enableCompileCache()
const { runCli } = await import('./program.ts')
const status = await runCli(process.argv)
process.exitCode = status
// Under npm a Ctrl-C comes twice. Left to end by itself, Node takes its handlers down first, and the second one kills.
if (status === 130) process.exit()
