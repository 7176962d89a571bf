/** Maps the flags and verbs of other tools to ours. */
import type { Command } from 'commander'

/** Other tools' flags and ours. The first of ours that the verb has is suggested. */
const FLAGS: readonly (readonly [typed: string, ours: string])[] = [
  [
    '--max-tokens --max-completion-tokens --max-output-tokens --max-length --n-predict --num-predict -n',
    '--max-new-tokens',
  ],
  ['--temp', '--temperature'],
  ['--sys --system-prompt --instructions', '--system'],
  ['--stop-sequence --stop-sequences --stop-word --stop-words', '--stop'],
  ['--timeout --timeout-ms --deadline --ttl', '--deadline-ms --grace-ms'],
  ['--model --model-name', '--model-id'],
  ['--url --base-url --endpoint --server --address --target --tgi-url --replica-url', '--replica --redis'],
  ['--host --hostname --listen --bind', '--host --health-host --replica --redis'],
  ['-p --listen-port', '--port --health-port'],
  [
    '--concurrency --parallel --parallelism --workers --threads --num-slots',
    '--slots --max-concurrent-requests',
  ],
  ['--redis-url --redis-host --redis-uri --broker --broker-url', '--redis'],
  ['--queue --queue-name --pool-id --pool-name', '--pool'],
  ['--id --idempotency-key', '--job-id --replica-id'],
  ['--name --worker-id', '--replica-id'],
  ['--request-id --trace-id', '--correlation-id'],
  ['--input --input-file --jobs -f', '--file'],
  ['--from --since --cursor --last-event-id', '--after'],
  ['--grace --grace-period --drain-timeout', '--grace-ms'],
  ['--verbose --debug --loglevel -v', '--log-level'],
  ['--output --format -o', '--json'],
]

/** Flags without a counterpart, and what to do instead. */
const REMARKS: readonly (readonly [typed: string, remark: string])[] = [
  ['--prompt --inputs --message --text -p -m', 'the prompt is an argument: tgi-pool generate "PROMPT"'],
  ['--model --model-id --model-name', 'a pool serves one model: choose it with --pool'],
  ['--stream --no-stream', 'leave it out: every job streams'],
  ['--follow -f', 'leave it out: events follows the job to its end'],
  ['--api-key --key --token', 'keys are read from the environment or from files; see --help'],
]

/** Other tools' verbs and ours. */
const VERBS: readonly (readonly [typed: string, ours: string])[] = [
  ['run ask chat complete completion completions prompt query infer', 'generate'],
  ['submit add push send put queue', 'enqueue'],
  ['serve server api http start-server', 'gateway, worker'],
  ['start up work consume', 'worker, demo'],
  ['list ls ps', 'jobs, replicas, pool list'],
  ['status info stat stats top', 'doctor, job, replicas'],
  ['show get inspect describe state', 'job, pool show'],
  ['logs log tail watch follow stream attach', 'events'],
  ['result output', 'results, events'],
  ['stop kill abort terminate', 'cancel'],
  ['rm remove delete del erase purge', 'forget, pool delete'],
  ['check health ping diagnose test', 'doctor'],
  ['pools', 'pool list'],
  ['init create new', 'pool create'],
  ['config set settings', 'pool set, pool show'],
  ['workers nodes servers', 'replicas'],
  ['pause', 'drain'],
  ['resume unpause', 'undrain'],
  ['sim mock fake', 'simulator'],
  ['prometheus exporter', 'metrics'],
]

/** The same for the verbs of `pool`. */
const POOL_VERBS: typeof VERBS = [
  ['add new init', 'pool create'],
  ['ls', 'pool list'],
  ['get config inspect describe', 'pool show'],
  ['update configure change', 'pool set'],
  ['rm remove drop', 'pool delete'],
]

/** The deepest verb that the arguments name; the program itself if they name none. */
export function verbOf(program: Command, args: readonly string[]): Command {
  let verb = program
  for (const arg of args) verb = verb.commands.find((command) => command.name() === arg) ?? verb
  return verb
}

/** What to say about a flag that a verb does not have: another flag, or why there is none. */
export function adviseFlag(verb: Command, flag: string): string | undefined {
  const has = (name: string) => verb.options.some(({ long, short }) => long === name || short === name)
  for (const [typed, ours] of FLAGS) {
    const found = typed.split(' ').includes(flag) ? ours.split(' ').find(has) : undefined
    if (found !== undefined) return `use ${found}`
  }
  return REMARKS.find(([typed]) => typed.split(' ').includes(flag))?.[1]
}

/** Existing verbs that an unknown verb may stand for: `generate`, or `pool list`. */
export function adviseVerb(parent: Command, typed: string): readonly string[] {
  const root = parent.parent ?? parent
  const table = parent.name() === 'pool' ? POOL_VERBS : VERBS
  const ours = table.find(([others]) => others.split(' ').includes(typed))?.[1].split(', ') ?? []
  return ours.filter((path) => {
    const [first, second] = path.split(' ')
    const verb = root.commands.find((command) => command.name() === first)
    return (
      verb !== undefined && (second === undefined || verb.commands.some((inner) => inner.name() === second))
    )
  })
}
