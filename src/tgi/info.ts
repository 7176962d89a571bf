import { z } from 'zod'

/** What a replica says of itself. */
export interface ReplicaInfo {
  readonly modelId: string
  /** Null for a local directory and without access to the hub. */
  readonly modelSha: string | null
  /** Compiled in; does not distinguish releases (3.3.6 and 3.3.7 report the same). */
  readonly version: string
  readonly sha: string | null
  readonly dockerLabel: string | null
  readonly maxConcurrentRequests: number | undefined
  readonly maxInputTokens: number | undefined
  readonly maxTotalTokens: number
  readonly maxStopSequences: number | undefined
  readonly maxTopNTokens?: number | undefined
  readonly maxClientBatchSize?: number | undefined
  /** The name of the router's crate, the same for every backend. */
  readonly routerName?: string | undefined
}

/**
 * The longest model id and version (characters): they go into the registry every second, into the events of every job and into the
 * labels of every metric.
 */
const MAX_MODEL_ID = 512
const MAX_WORD = 128

/** Absent, null, empty, too long or of another type: not known. Fields came and went with almost every release. */
const count = z.number().int().min(0).optional().catch(undefined)
const word = z.string().min(1).max(MAX_WORD).nullable().catch(null)

const infoSchema = z.object({
  model_id: z.string().min(1).max(MAX_MODEL_ID),
  version: z.string().min(1).max(MAX_WORD),
  max_total_tokens: z.number().int().min(1),
  model_sha: word,
  sha: word,
  docker_label: word,
  max_concurrent_requests: count,
  max_input_tokens: count,
  max_input_length: count,
  max_stop_sequences: count,
  max_top_n_tokens: count,
  max_client_batch_size: count,
  router: word,
})

/**
 * Reads the answer of `GET /info` of TGI 1.0 to 3.3 (router/src/lib.rs, tag by tag), or undefined when it is not one:
 * only `model_id`, `version` and `max_total_tokens` were there in all of them.
 */
export function parseInfo(value: unknown): ReplicaInfo | undefined {
  const parsed = infoSchema.safeParse(value)
  if (!parsed.success) return undefined
  const info = parsed.data
  return {
    modelId: info.model_id,
    modelSha: info.model_sha,
    version: info.version,
    sha: info.sha,
    dockerLabel: info.docker_label,
    maxConcurrentRequests: info.max_concurrent_requests,
    // Renamed in v2.1.0.
    maxInputTokens: info.max_input_tokens ?? info.max_input_length,
    maxTotalTokens: info.max_total_tokens,
    maxStopSequences: info.max_stop_sequences,
    maxTopNTokens: info.max_top_n_tokens,
    maxClientBatchSize: info.max_client_batch_size,
    routerName: info.router ?? undefined,
  }
}

/** What distinguishes builds: `<version>+<docker_label, or the first 7 of sha>`, only the version when neither is known. */
export function engineVersion(info: Pick<ReplicaInfo, 'version' | 'sha' | 'dockerLabel'>): string {
  const build = info.dockerLabel ?? info.sha?.slice(0, 7)
  return build === undefined ? info.version : `${info.version}+${build}`
}
