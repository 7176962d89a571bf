import { Option } from 'commander'
import type { Command } from 'commander'
import { jsonLine } from '../contract/json-line.ts'
import { parseOrThrow } from '../contract/format-issues.ts'
import { poolIdSchema } from '../contract/ids.ts'
import { EXIT, Exit } from './exit.ts'
import { readApiKey, warnOfPassword, withRedis } from './options.ts'
import type { RedisFlags } from './options.ts'
import { out } from './print.ts'

/** `tgi-pool doctor`: what is wrong, and what to do about it. */
export function addDoctor(program: Command): void {
  const command = program
    .command('doctor')
    .description(
      'Check Redis, the pools and their replicas; print what is wrong and what to do. Changes nothing',
    )
    .addOption(new Option('--pool <pool>', 'check only this pool (default: all)').env('TGI_POOL'))
    .option('--json', 'one JSON object: redis, pools, findings, ok')
    .addHelpText(
      'after',
      '\nExits with 1 if there is a fault; warnings alone exit with 0. The API key for the replicas is read from TGI_API_KEY,\nor from the file that TGI_API_KEY_FILE names.',
    )
  withRedis(command).action(async (flags: RedisFlags & { pool?: string; json?: boolean }) => {
    warnOfPassword(flags.redis)
    if (flags.pool !== undefined) parseOrThrow(poolIdSchema, flags.pool, 'pool')
    const [{ examine }, { formatReport }] = await Promise.all([
      import('../doctor/doctor.ts'),
      import('../doctor/format-report.ts'),
    ])
    const { redis: redisUrl, prefix, pool } = flags
    const report = await examine({ redisUrl, prefix, pool, apiKey: await readApiKey(process.env) })
    out(flags.json === true ? `${jsonLine(report)}\n` : formatReport(report))
    if (!report.ok) throw new Exit(EXIT.fault)
  })
}
