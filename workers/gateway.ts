/**
 * The gateway as a service: everything comes from the environment, for containers and process managers.
 *
 * `REDIS_URL`, and optionally `TGI_POOL_GATEWAY_HOST`, `TGI_POOL_GATEWAY_PORT`, `TGI_POOL_GATEWAY_GRACE_MS`,
 * `TGI_POOL_BEARER_FILE`, `TGI_POOL_CORS_ORIGINS`, `TGI_POOL_MAX_STREAMS`, `TGI_POOL_MAX_STREAMS_PER_CALLER`, `TGI_POOL_PREFIX`,
 * `LOG_LEVEL`: the same as `tgi-pool gateway`.
 */
import { runCli } from '../src/cli/program.ts'

process.exitCode = await runCli([process.argv[0] ?? 'node', 'tgi-pool', 'gateway'])
