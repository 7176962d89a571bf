/**
 * The metrics process as a service: everything comes from the environment, for containers and process managers.
 *
 * `REDIS_URL`, and optionally `TGI_POOL_METRICS_PORT`, `TGI_POOL_METRICS_HOST`, `TGI_POOL_METRICS_BEARER_FILE`, `TGI_POOL_PREFIX`,
 * `TGI_API_KEY` or `TGI_API_KEY_FILE`, `TGI_API_KEY_FOR`, `LOG_LEVEL`: the same as `tgi-pool metrics`.
 */
import { runCli } from '../src/cli/program.ts'

process.exitCode = await runCli([process.argv[0] ?? 'node', 'tgi-pool', 'metrics'])
