import { z } from 'zod'
import type { Settings } from './options.ts'

/** `GET /info`: TGI 3.3.7's 14 fields in its order (router/src/lib.rs), but `router` says that this is a simulator. */
export const infoSchema = z.strictObject({
  model_id: z.string(),
  model_sha: z.string().nullable(),
  model_pipeline_tag: z.string().nullable(),
  max_concurrent_requests: z.number(),
  max_best_of: z.number(),
  max_stop_sequences: z.number(),
  max_input_tokens: z.number(),
  max_total_tokens: z.number(),
  validation_workers: z.number(),
  max_client_batch_size: z.number(),
  router: z.string(),
  version: z.string(),
  sha: z.string().nullable(),
  docker_label: z.string().nullable(),
})

/** The fields of `/info`, by their wire names. */
export type SimulatorInfo = z.infer<typeof infoSchema>

/** Some fields of `/info`; an undefined one stays as it is. */
export type InfoChange = { readonly [Field in keyof SimulatorInfo]?: SimulatorInfo[Field] | undefined }

/** `/info` after a change. */
export function changeInfo(info: SimulatorInfo, change: InfoChange): SimulatorInfo {
  const given = Object.entries(change).filter(([, value]) => value !== undefined)
  return { ...info, ...Object.fromEntries(given) }
}

/** What `/info` says at the start. */
export function createInfo(settings: Settings): SimulatorInfo {
  return {
    model_id: settings.modelId,
    model_sha: settings.modelSha,
    model_pipeline_tag: 'text-generation',
    max_concurrent_requests: settings.maxConcurrentRequests,
    max_best_of: 2,
    max_stop_sequences: settings.maxStopSequences,
    max_input_tokens: settings.maxInputTokens,
    max_total_tokens: settings.maxTotalTokens,
    validation_workers: 2,
    max_client_batch_size: 4,
    router: 'tgi-pool-simulator',
    version: settings.version,
    sha: settings.sha,
    docker_label: settings.dockerLabel,
  }
}
