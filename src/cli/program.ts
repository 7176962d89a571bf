import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { addCancel } from './cancel.ts'
import { addDemo } from './demo.ts'
import { addEnqueue } from './enqueue.ts'
import { addEvents } from './events.ts'
import { EXIT, exitStatus, printError } from './exit.ts'
import { addGenerate } from './generate.ts'
import { addJob } from './job.ts'
import { addPool } from './pool.ts'
import { addReplicas } from './replicas.ts'
import { addSimulator } from './simulator.ts'
import { addWorker } from './worker.ts'

/** Runs the command line; resolves with the exit status, errors printed. */
export async function runCli(argv: readonly string[]): Promise<number> {
  // A reader such as `head` may close the pipe: then there is nobody left to write for.
  process.stdout.on('error', (error: NodeJS.ErrnoException) =>
    process.exit(error.code === 'EPIPE' ? EXIT.success : EXIT.fault),
  )
  const program = buildProgram()
  try {
    await program.parseAsync([...argv])
    return EXIT.success
  } catch (error) {
    // commander has printed its own: status 0 is --help and --version, all else is bad usage.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.success : EXIT.usage
    printError(error, argv.includes('--json'))
    return exitStatus(error)
  }
}

function buildProgram(): Command {
  const program = new Command('tgi-pool')
    .description(
      'A durable queue in front of Text Generation Inference replicas, and a replayable event stream behind them.',
    )
    .version(packageVersion())
    .exitOverride()
    .showHelpAfterError('(add --help for what it takes)')
    .addHelpText(
      'after',
      '\nData goes to stdout, logs and progress to stderr.\nExit status: 0 success, 1 fault, 2 bad usage, 3 the job ended in error, 130 interrupted.',
    )
  for (const add of [
    addDemo,
    addSimulator,
    addWorker,
    addEnqueue,
    addEvents,
    addGenerate,
    addCancel,
    addJob,
    addPool,
    addReplicas,
  ]) {
    add(program)
  }
  return program
}

function packageVersion(): string {
  // src/cli in a checkout, dist/src/cli in the package.
  for (const up of ['../../package.json', '../../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(up, import.meta.url), 'utf8')) as Record<
        string,
        unknown
      >
      if (name === 'tgi-pool' && typeof version === 'string') return version
    } catch {
      continue
    }
  }
  return 'unknown'
}
