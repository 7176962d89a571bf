import { Option } from 'commander'
import type { Command } from 'commander'
import { jsonLine } from '../contract/json-line.ts'
import { parseOrThrow } from '../contract/format-issues.ts'
import { poolIdSchema } from '../contract/ids.ts'
import { EXIT, Exit } from './exit.ts'
import { readApiKey, warnOfPassword, withKey, withRedis } from './options.ts'
import type { KeyFlags, RedisFlags } from './options.ts'
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
    .addHelpText('after', '\nExits with 1 if there is a fault; warnings alone exit with 0.')
  withKey(withRedis(command)).action(
    async (flags: RedisFlags & KeyFlags & { pool?: string; json?: boolean }) => {
      warnOfPassword(flags.redis)
      if (flags.pool !== undefined) parseOrThrow(poolIdSchema, flags.pool, 'pool')
      const [{ examine }, { formatReport }] = await Promise.all([
        import('../doctor/doctor.ts'),
        import('../doctor/format-report.ts'),
      ])
      const { redis: redisUrl, prefix, pool, apiKeyFor } = flags
      const apiKey = await readApiKey(process.env)
      const report = await examine({ redisUrl, prefix, pool, apiKey, apiKeyFor })
      out(flags.json === true ? `${jsonLine(report)}\n` : formatReport(report))
      if (!report.ok) throw new Exit(EXIT.fault)
    },
  )
}
