import type { Versions } from '../contract/replica-entry.ts'
import type { ProbeResult } from '../replica/session.ts'
import type { TgiClient } from '../tgi/client.ts'
import { TgiError } from '../tgi/error.ts'
import { engineVersion } from '../tgi/info.ts'
import type { ReplicaInfo } from '../tgi/info.ts'

/** How long a replica may take to answer a probe (ms); `/health` may wait behind a prefill. */
const PROBE_TIMEOUT_MS = 3000

/**
 * Looks once at a TGI server: `/health`, `/info`, and whether it takes our key. TGI asks for none on the first two
 * (router/src/server.rs, 3.3.7), so a wrong one would only be met by jobs; `/tokenize` asks, and takes no permit.
 */
export async function probeReplica(client: TgiClient, signal: AbortSignal): Promise<ProbeResult> {
  const options = { signal, timeoutMs: PROBE_TIMEOUT_MS }
  try {
    await client.health(options)
    const versions = versionsOf(await client.info(options))
    await client.tokenize('a', options).catch((error: unknown) => {
      // Whatever else it answers: old servers have no such route.
      if (error instanceof TgiError && error.kind === 'unauthorized') throw error
    })
    return { kind: 'healthy', versions }
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
