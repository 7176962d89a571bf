import { Option } from 'commander'
import type { Command } from 'commander'
import type { Demo } from '../demo/demo.ts'
import { redactUrl } from '../redis/address.ts'
import { Exit } from './exit.ts'
import { withInterrupt } from './interrupt.ts'
import { readApiKey, replicaAddress } from './options.ts'
import { out } from './print.ts'
import { shellWord } from '../runtime/shell-word.ts'

/** `tgi-pool demo`: the main features in a few seconds; leaves nothing running. */
export function addDemo(program: Command): void {
  program
    .command('demo')
    .description(
      'Show the main features in a few seconds: a prompt streams, a consumer resumes, a cancel frees the replica',
    )
    .option('--keep', 'keep everything running afterwards and print what to try next')
    .addOption(new Option('--redis <url>', 'Redis URL (default: a server of its own)').env('REDIS_URL'))
    .option(
      '--replica <url>',
      'base URL of a real replica; may be repeated (default: two simulated ones)',
      (text: string, before: string[] | undefined) => [...(before ?? []), replicaAddress(text)],
    )
    .action(async (flags: { keep?: boolean; redis?: string; replica?: string[] }) => {
      const keep = flags.keep === true
      const { startDemo } = await import('../demo/demo.ts')
      try {
        await withInterrupt(async (signal) => {
          const demo = await startDemo({
            redisUrl: flags.redis,
            replicas: flags.replica,
            apiKey: await readApiKey(process.env),
            gateway: keep,
            write: out,
            signal,
          })
          try {
            await demo.show()
            if (keep) await keepUp(demo, signal)
          } finally {
            await demo.stop()
          }
        })
      } catch (error) {
        // Ctrl-C ends --keep normally.
        if (!keep || !(error instanceof Exit)) throw error
      }
      out('\nAll stopped. Next: README.md, or npm run demo -- --keep\n')
    })
}

/** Waits for Ctrl-C. */
async function keepUp(demo: Demo, signal: AbortSignal): Promise<void> {
  out(nextSteps(demo))
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve()
    // The promise alone would not keep the process up when everything is idle.
    const alive = setInterval(() => undefined, 60_000)
    signal.addEventListener('abort', () => {
      clearInterval(alive)
      resolve()
    })
  })
}

function overHttp(gateway: string | undefined): string {
  if (gateway === undefined) return ''
  const body = `'{"pool":"demo","job_id":"first","inputs":"Why is the sky blue?","parameters":{"max_new_tokens":100}}'`
  return `Over HTTP (all routes: ${gateway}/docs):

  curl -s ${gateway}/v1/jobs -H 'Content-Type: application/json' -d ${body}
  curl -N ${gateway}/v1/jobs/first/events
`
}

function nextSteps(demo: Demo): string {
  const at = `--pool ${demo.pool} --redis ${shellWord(redactUrl(demo.redisUrl))}`
  const run = 'npm run -s tgi-pool --'
  return `
Everything stays up until Ctrl-C. In another terminal, try:

  ${run} generate "Once upon a time" ${at}
  ${run} replicas ${at}
  ${run} enqueue "A long story" --max-new-tokens 1000 ${at}
  ${run} events JOB ${at}          (JOB: the job_id that enqueue printed)
  ${run} cancel JOB ${at}

${overHttp(demo.gateway)}
Redis     ${redactUrl(demo.redisUrl)}
Replicas  ${demo.replicas.join('\n          ')}
`
}
