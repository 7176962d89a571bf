import type { Versions } from '../contract/replica-entry.ts'
import type { ProbeResult } from '../replica/session.ts'
import type { TgiClient } from '../tgi/client.ts'
import { TgiError } from '../tgi/error.ts'
import { engineVersion } from '../tgi/info.ts'
import type { ReplicaInfo } from '../tgi/info.ts'

/** How long a replica may take to answer a probe (ms); `/health` may wait behind a prefill. */
const PROBE_TIMEOUT_MS = 3000

/** Looks once at a TGI server: `/health`, then `/info`. */
export async function probeReplica(client: TgiClient, signal: AbortSignal): Promise<ProbeResult> {
  try {
    await client.health({ signal, timeoutMs: PROBE_TIMEOUT_MS })
    return {
      kind: 'healthy',
      versions: versionsOf(await client.info({ signal, timeoutMs: PROBE_TIMEOUT_MS })),
    }
  } catch (error) {
    if (!(error instanceof TgiError)) throw error
    return { kind: error.kind === 'timeout' ? 'silent' : 'unhealthy', reason: error.message }
  }
}

function versionsOf(info: ReplicaInfo): Versions {
  const versions: Versions = {
    engine: 'tgi',
    engine_version: engineVersion(info),
    model_id: info.modelId,
    model_sha: info.modelSha,
    max_total_tokens: info.maxTotalTokens,
  }
  if (info.maxInputTokens !== undefined) versions.max_input_tokens = info.maxInputTokens
  if (info.maxConcurrentRequests !== undefined) versions.max_concurrent_requests = info.maxConcurrentRequests
  return versions
}
