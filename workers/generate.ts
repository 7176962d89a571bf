/**
 * A worker as a service: everything comes from the environment, for containers and process managers.
 *
 * `REDIS_URL`, `TGI_POOL`, `TGI_REPLICA`, and optionally `TGI_REPLICA_ID`, `TGI_POOL_SLOTS`, `TGI_POOL_GRACE_MS`,
 * `TGI_POOL_PREFIX`, `TGI_API_KEY` or `TGI_API_KEY_FILE`, `LOG_LEVEL`: the same as `tgi-pool worker`.
 */
import { runCli } from '../src/cli/program.ts'

process.exitCode = await runCli([process.argv[0] ?? 'node', 'tgi-pool', 'worker'])
