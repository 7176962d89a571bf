/**
 * tgi-pool as a library: put jobs in, read their events from any point, cancel them, from any process.
 */
import './runtime/need-node.ts'
export type { JobEnd, JobEndListener } from './attempt/job-end.ts'
export { openPool, openPools } from './client/pools.ts'
export type { PoolClientOptions, Pools, PoolsOptions } from './client/pools.ts'
export type {
  CallOptions,
  CancelOptions,
  DeletePoolOptions,
  DrainOptions,
  EnqueueOptions,
  EventsOptions,
  PoolClient,
} from './client/pool-client.ts'
export { sseResponse } from './client/sse-response.ts'
export type { SseResponse, SseResponseOptions } from './client/sse-response.ts'
export type { PoolContents } from './client/delete-pool.ts'
export type { DrainOutcome, UndrainOutcome } from './client/drain.ts'
export type { Admission } from './client/enqueue.ts'
export type { JobFilter, JobListOptions, JobPage } from './client/job-list.ts'
export type { JobResult } from './client/text.ts'
export type { ListedPool, PoolConfigChange } from './pool/config-store.ts'
export type { Restart } from './stream/reader.ts'
export type { CancelOutcome } from './stream/seal.ts'
export type { WaitingCounts } from './queue/queue-depth.ts'
export { PoolError } from './contract/error.ts'
export type { ErrorKind } from './contract/error.ts'
export type { ErrorCode } from './contract/codes.ts'
export type { EventData, EventName, JobEvent } from './contract/event.ts'
export type { Priority } from './contract/job.ts'
export type { JobStateName } from './contract/job-states.ts'
export type { ReplicaState } from './contract/replica-entry.ts'
export type {
  ChatJob,
  ChatMessage,
  EndData,
  ErrorData,
  GenerationParameters,
  JobFields,
  JobInput,
  JobState,
  JobSummary,
  MetricsData,
  Pin,
  PoolConfig,
  PromptJob,
  QueuedData,
  ReplicaEntry,
  Resume,
  StartedData,
  TextPart,
  TokenData,
  TopToken,
  Versions,
} from './contract/wire-types.ts'
export { SSE_HEADERS, SSE_HEARTBEAT, formatSse, toSse } from './http/sse.ts'
export type { SseEvent, SseOptions, SseStream } from './http/sse.ts'
