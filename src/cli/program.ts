import '../runtime/need-node.ts'
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { PoolError } from '../contract/error.ts'
import { addBatch } from './batch.ts'
import { addCancel } from './cancel.ts'
import { addDemo } from './demo.ts'
import { addDoctor } from './doctor.ts'
import { addDrain, addUndrain } from './drain.ts'
import { addEnqueue } from './enqueue.ts'
import { addEvents } from './events.ts'
import { EXIT, exitStatus, printError } from './exit.ts'
import { addForget } from './forget.ts'
import { addGateway } from './gateway.ts'
import { addGenerate } from './generate.ts'
import { addJob } from './job.ts'
import { addJobs } from './jobs.ts'
import { addMetrics } from './metrics.ts'
import { addPool } from './pool.ts'
import { addReplicas } from './replicas.ts'
import { addResults } from './results.ts'
import { addSimulator } from './simulator.ts'
import { addWait } from './wait.ts'
import { adviseFlag, adviseVerb, verbOf } from './suggestions.ts'
import { addWorker } from './worker.ts'

/** Runs the command line; resolves with the exit status, errors printed. */
export async function runCli(argv: readonly string[]): Promise<number> {
  // A reader such as `head` may close the pipe; interrupt.ts handles that.
  process.stdout.on('error', () => undefined)
  // Without a reader there is nowhere to report to; the work goes on.
  process.stderr.on('error', () => undefined)
  // Treat an empty variable as unset: containers are often started from templates.
  for (const [name, value] of Object.entries(process.env)) if (value === '') delete process.env[name]
  const json = argv.includes('--json')
  const program = buildProgram()
  try {
    await program.parseAsync([...argv])
    return EXIT.success
  } catch (error) {
    const known = error instanceof CommanderError ? usageError(error, program, argv.slice(2)) : error
    if (known === undefined) return EXIT.success
    printError(known, json)
    return exitStatus(known)
  }
}

/** Converts commander's error; undefined for --help and --version, which are not errors. */
function usageError(error: CommanderError, program: Command, args: readonly string[]): PoolError | undefined {
  if (error.exitCode === 0) return undefined
  if (error.code === 'commander.help')
    return new PoolError('INVALID_PARAMS', 'expected a verb; --help lists them')
  const message = describeUsage(error, verbOf(program, args))
  return new PoolError('INVALID_PARAMS', `${message.replaceAll(/\s*\n\s*/g, ' ')} (--help lists the options)`)
}

function describeUsage(error: CommanderError, verb: Command): string {
  const message = error.message.replace(/^error: /, '')
  switch (error.code) {
    // commander's message repeats the arguments, which are usually words of a prompt.
    case 'commander.excessArguments':
      return 'too many arguments: put a prompt of several words in quotes'
    case 'commander.unknownOption':
      return describeUnknownOption(message, verb)
    case 'commander.unknownCommand':
      return describeUnknownVerb(message, verb)
    default:
      return message
  }
}

/** A prompt that starts with - is parsed as an option; the error repeats it only if it looks like an option. */
function describeUnknownOption(message: string, verb: Command): string {
  // Drop the value of the flag: it may be a key.
  const [, flag, rest = ''] = /^unknown option '(--?[a-z][a-z-]*)(?:=[^]*)?'([^]*)$/i.exec(message) ?? []
  const advice = flag === undefined ? undefined : adviseFlag(verb, flag)
  const what = flag === undefined ? 'unknown option' : `unknown option '${flag}'`
  if (advice !== undefined) return `${what}: ${advice}`
  if (rest !== '' || !TAKES_PROMPT.has(verb.name())) return what + rest
  return `${what}; a prompt that starts with - goes after --, e.g. tgi-pool generate -- "-5 + 3 =", or use - and pass it on standard input`
}

const TAKES_PROMPT: ReadonlySet<string> = new Set(['generate', 'enqueue'])

/** Anything that does not look like a verb may be a prompt, so it is not repeated. */
function describeUnknownVerb(message: string, parent: Command): string {
  const typed = /^unknown command '([a-z][a-z-]{0,30})'/i.exec(message)?.[1]
  if (typed === undefined) return 'unknown command; a prompt goes after a verb: tgi-pool generate "PROMPT"'
  const verbs = adviseVerb(parent, typed)
  return verbs.length === 0
    ? message
    : `unknown command '${typed}': use ${verbs.join(', ').replace(/, ([^,]+)$/, ' or $1')}`
}

/**
 * The whole command. Long-running verbs (the worker, the simulator) load their own modules lazily, so that the others
 * start in half the time.
 */
export function buildProgram(): Command {
  const program = new Command('tgi-pool')
    .description(
      'A durable queue in front of Text Generation Inference replicas, and a replayable event stream behind them.',
    )
    .version(packageVersion())
    .exitOverride()
    .configureOutput({ outputError: () => undefined })
    .addHelpText(
      'after',
      '\nData goes to stdout, logs and progress to stderr.\nExit status: 0 success, 1 failure, 2 bad usage, 3 the job ended in error, 130 interrupted.',
    )
  for (const add of [
    addDemo,
    addSimulator,
    addWorker,
    addGateway,
    addMetrics,
    addEnqueue,
    addBatch,
    addEvents,
    addGenerate,
    addResults,
    addWait,
    addCancel,
    addForget,
    addJob,
    addJobs,
    addPool,
    addReplicas,
    addDrain,
    addUndrain,
    addDoctor,
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
