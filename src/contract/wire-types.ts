/**
 * The wire formats as types, with a comment on every field. Generated from the schemas by `npm run schemas`: their descriptions,
 * defaults and bounds become the comments. `test/types/wire.ts` checks that types and schemas agree.
 */

/**
 * What every job has beside its prompt. Bounds of the whole job: see `schemas/job.json`; a job beyond one is
 * `INVALID_PARAMS`.
 */
export interface JobFields {
  /**
   * Version of this contract.
   *
   * @defaultValue `1`
   */
  v?: 1 | undefined
  /** Not supported yet: leave it out. */
  tools?: undefined
  /** Not supported yet: leave it out. */
  tool_choice?: undefined
  /**
   * Generation parameters. Absent: greedy decoding.
   *
   * @defaultValue `{}`
   */
  parameters?: GenerationParameters | undefined
  /**
   * Interactive jobs go before batch jobs.
   *
   * @defaultValue `"interactive"`
   */
  priority?: 'interactive' | 'batch' | undefined
  /**
   * Time from acceptance within which the job must end, queue wait included (ms); after it the job ends in
   * `error`. At most the pool's `max_deadline_ms`. Absent: the pool's `deadline_ms` or `batch_deadline_ms`.
   *
   * Whole number, 1 to 2,251,799,813,685,247.
   */
  deadline_ms?: number | undefined
  /**
   * How long the events stay readable after the end (ms). At most the pool's `max_retention_ms`. Absent: the
   * pool's `retention_ms`.
   *
   * Whole number, 1 to 2,251,799,813,685,247.
   */
  retention_ms?: number | undefined
  /** How exactly a retried job must repeat its answer. Only `best_effort` is supported so far. */
  determinism?: 'best_effort' | undefined
  /**
   * What happens to an answer that is interrupted after its first token. `continue`: it continues from the
   * text so far, or is replayed if that is not possible; `replay`: it is generated again and must repeat every
   * published token before it continues; `fail`: it ends in `WORKER_RESET`. Absent: `continue`, or `replay`
   * with a grammar.
   */
  on_interrupt?: 'continue' | 'replay' | 'fail' | undefined
  /** Not supported yet: leave it out. */
  placement?: undefined
  /** For your own use, e.g. the conversation: 1 to 64 characters of `A-Z a-z 0-9 . _ -`. */
  session_id?: string | undefined
  /** Your id for the job in logs and in `started`: 1 to 64 characters of `A-Z a-z 0-9 . _ -`. */
  correlation_id?: string | undefined
  /** For your own use, e.g. your customer: 1 to 64 characters of `A-Z a-z 0-9 . _ -`. */
  tenant?: string | undefined
}

/** A job whose prompt is a text. */
export interface PromptJob extends JobFields {
  /**
   * The prompt, given to the model as it is. At most the pool's `max_input_bytes`, with stop and grammar. A
   * job has `inputs` or `messages`, never both.
   *
   * Not empty.
   */
  inputs: string
  /** A job with `inputs` has none. */
  messages?: undefined
}

/** A job whose prompt is a chat. */
export interface ChatJob extends JobFields {
  /**
   * A chat, rendered with the replica's own chat template, then generated like any prompt. At most the pool's
   * `max_input_bytes`, with stop and grammar. A job has `inputs` or `messages`, never both.
   *
   * 1 to 10,000 elements.
   */
  messages: ChatMessage[]
  /** A job with `messages` has none. */
  inputs?: undefined
}

/** A message of a chat, in the terms of the model's own template. */
export interface ChatMessage {
  /**
   * The speaker, as named by the model's chat template: system, user, assistant, …
   *
   * Not empty.
   */
  role: string
  /** Not supported yet: leave it out. */
  name?: undefined
  /** Not supported yet: leave it out. */
  tool_calls?: undefined
  /** Not supported yet: leave it out. */
  tool_call_id?: undefined
  /** The content: a string, or 1 to 10000 text parts. */
  content: string | TextPart[]
}

/** A part of a message. */
export interface TextPart {
  /** The only kind of part that is supported. */
  type: 'text'
  /** The text of this part; the parts of a message are joined. */
  text: string
}

/**
 * TGI's generation parameters under TGI's own names. Null is the same as absent. Unlike TGI, `temperature:
 * 0`, `top_p: 1` and `top_k: 0` are accepted.
 */
export interface GenerationParameters {
  /** Leave it out: several answers to one prompt cannot be streamed. */
  best_of?: 1 | null | undefined
  /**
   * Flattens (above 1) or sharpens (below 1) the distribution that tokens are drawn from. Any value but 0 and
   * 1 turns sampling on. 0 is greedy; 1 or absent leaves the logits unchanged.
   *
   * Number, 0 or more.
   */
  temperature?: number | null | undefined
  /**
   * Above 1, tokens that occur in the prompt or the answer become less likely. 1 or absent is off.
   *
   * Number above 0.
   */
  repetition_penalty?: number | null | undefined
  /**
   * Above 0, tokens become less likely the more often they occur in the answer. 0 or absent is off.
   *
   * Number, -2 to 2.
   */
  frequency_penalty?: number | null | undefined
  /**
   * Samples only among this many most likely tokens. 0 or absent is off.
   *
   * Whole number, 0 to 2,147,483,647.
   */
  top_k?: number | null | undefined
  /**
   * Samples among the most likely tokens whose probabilities add up to this. 1 or absent is off.
   *
   * Number above 0, at most 1.
   */
  top_p?: number | null | undefined
  /**
   * Samples among the most typical tokens whose probabilities add up to this. 1 or absent is off.
   *
   * Number above 0, at most 1.
   */
  typical_p?: number | null | undefined
  /**
   * Whether tokens are sampled (using the seed). Absent or false: greedy, unless `temperature`, `top_k`,
   * `top_p` or `typical_p` turns sampling on.
   */
  do_sample?: boolean | undefined
  /**
   * Maximum tokens of the answer; never exceeded. At most the pool's `max_max_new_tokens`. Absent: the pool's
   * `max_new_tokens`.
   *
   * Whole number, 1 to 4,294,967,295.
   */
  max_new_tokens?: number | null | undefined
  /** Leave it out: the prompt is never part of the answer. */
  return_full_text?: false | null | undefined
  /**
   * Texts that end the answer; they stay in it, as in TGI. TGI accepts 4 unless it was started with more.
   *
   * At most 256 elements.
   */
  stop?: string[] | undefined
  /** Leave it out: prompts are never cut silently. */
  truncate?: null | undefined
  /** Adds TGI's watermark to the answer (Kirchenbauer et al.). */
  watermark?: boolean | undefined
  /** Leave it out: details are always on. */
  details?: true | undefined
  /** Leave it out: TGI refuses it when streaming. */
  decoder_input_details?: false | undefined
  /**
   * Makes sampling repeatable on the same build and model. Absent: the first 53 bits of the SHA-256 of the job
   * id.
   *
   * Whole number, 0 or more.
   */
  seed?: number | null | undefined
  /**
   * How many of the most likely tokens each `token` event lists in `top`. TGI allows 5 unless it was started
   * with more; 0 or absent: none.
   *
   * Whole number, 0 to 4,294,967,295.
   */
  top_n_tokens?: number | null | undefined
  /** A JSON Schema or a regex that the answer must match. Checked before the job is queued. */
  grammar?:
    | {
        /** A JSON Schema. */
        type: 'json' | 'json_object'
        /** A JSON Schema, or the JSON of one: at most 262144 bytes, 20000 values and 64 levels. */
        value: string | Record<string, unknown>
      }
    | {
        /** A regex that the whole answer must match. */
        type: 'regex'
        /** The regex: at most 32768 characters. */
        value: string
      }
    | {
        /** A JSON Schema with a name. */
        type: 'json_schema'
        /** The schema and its name. */
        value: {
          /** A JSON Schema, or the JSON of one: at most 262144 bytes, 20000 values and 64 levels. */
          schema: Record<string, unknown>
          /** Name of the schema, for your own use. */
          name?: string | undefined
        }
      }
    | null
    | undefined
  /**
   * The LoRA adapter to use. TGI does not check it: an unknown id runs the base model.
   *
   * Not empty.
   */
  adapter_id?: string | null | undefined
}

/** The `data` of a `queued` event: the job is accepted. */
export interface QueuedData {
  /** SHA-256 (hex) of the body as given: distinguishes two bodies with the same id. */
  digest: string
  /** When the job was accepted (ms since 1970, by Redis's clock). */
  accepted_at: number
  /** When the job's deadline passes; then it ends in `error` (ms since 1970, by Redis's clock). */
  deadline_at: number
  /** Jobs ahead of it at that time, from 0. */
  queue_position: number
  /** Expected wait at that time (ms). Absent when the pool's pace was unknown. */
  predicted_start_ms?: number | undefined
  /** Interactive jobs go before batch jobs. Absent in events of older producers. */
  priority?: 'interactive' | 'batch' | undefined
  /** The job's `correlation_id`. */
  correlation_id?: string | undefined
  /** How long the events stay readable after the end (ms). Absent: the pool's `retention_ms`. */
  retention_ms?: number | undefined
}

/** The `data` of a `started` event: a worker begins an attempt. */
export interface StartedData {
  /** Which attempt this is, from 1. */
  attempt: number
  /** The inference engine. */
  engine: 'tgi'
  /** The replica's build, `<version>+<docker label or first 7 of the commit>`. */
  engine_version: string
  /** The pool of the job. */
  pool_id: string
  /** The replica that runs this attempt. */
  replica_id: string
  /** The model, as the replica names it. */
  model_id: string
  /** The seed of this attempt. */
  seed: number
  /** From acceptance to this event (ms). */
  queue_time_ms: number
  /** How exactly a retried job repeats its answer. */
  determinism: 'best_effort' | 'strict'
  /** Reserved: the window in which the job runs alone. */
  window_id?: string | undefined
  /**
   * As in `queued`, for jobs of plain BullMQ producers, which write no `queued`: on the first attempt only
   * (ms).
   */
  retention_ms?: number | undefined
  /** Index of the next token; drop any tokens that you hold from that index on. */
  next_token: number
  /** How an interrupted answer is resumed. Absent when the attempt starts at the first token. */
  resume?: Resume | undefined
  /** The job's `correlation_id`. */
  correlation_id?: string | undefined
}

/** How an interrupted answer goes on. */
export interface Resume {
  /**
   * `continue`: continues from the text so far; `replay`: generates the tokens so far again without publishing
   * them, then continues.
   */
  mode: 'continue' | 'replay'
  /** Whether the answer has no best-effort seam, including this one. */
  exact: boolean
  /**
   * With `continue`: whether the replica tokenizes the whole text so far into the published tokens, not only
   * at the seam. If false, even a greedy answer may differ from an uninterrupted one.
   */
  same_tokens?: boolean | undefined
}

/**
 * The `data` of a `token` event. There is one for each token that the replica sends, empty and special ones
 * too.
 */
export interface TokenData {
  /**
   * Text that the token adds. Empty if the token is only part of a character that a later token completes.
   */
  t: string
  /** Index from 0, without gaps or repeats across attempts. */
  i: number
  /** The token's id in the model's vocabulary. */
  id: number
  /** Its natural log probability; null when not finite. */
  logprob: number | null
  /** On the first token only: time from acceptance to this token (ms). */
  first_token_ms?: number | undefined
  /**
   * On the first token only: time from the attempt's request to the replica to this token (ms). Absent in
   * events of older workers.
   */
  ttft_ms?: number | undefined
  /** Present when the token is not part of the text, e.g. the end-of-sequence token. */
  special?: true | undefined
  /** The most likely tokens at this position; present when the job has `top_n_tokens`. */
  top?: TopToken[] | undefined
}

/** One of the most likely tokens in a place. */
export interface TopToken {
  /** The token's id in the model's vocabulary. */
  id: number
  /** Its text. */
  t: string
  /** Its natural log probability; null when not finite. */
  logprob: number | null
}

/**
 * The `data` of a `metrics` event: how the running attempt goes. A pool has them when its
 * `metrics_interval_ms` is not 0.
 */
export interface MetricsData {
  /** Tokens published so far, over all attempts. */
  tokens_out: number
  /** Time since this attempt started (ms). */
  elapsed_ms: number
  /** Pace of this attempt since its first token. Absent before its second token. */
  tokens_per_second?: number | undefined
  /** Jobs waiting in the pool. Absent when unknown. */
  queue_depth?: number | undefined
  /** Time until the deadline (ms). */
  time_budget_remaining_ms?: number | undefined
}

/** The `data` of an `end` event: the answer is complete, and nothing follows. */
export interface EndData {
  /** Why the answer ended: `max_new_tokens` reached, end-of-sequence token, or stop sequence. */
  finish_reason: 'length' | 'eos_token' | 'stop_sequence'
  /** Tokens of the prompt. Absent when the replica never reported them. */
  tokens_in?: number | undefined
  /** Tokens of the answer, special ones included. */
  tokens_out: number
  /** Time from acceptance to the first `started` (ms). */
  queue_time_ms: number
  /** Time from acceptance to the first token (ms), including the queue. */
  first_token_ms: number
  /**
   * Time to first token (ms): from the request to the replica to token 0, in the attempt that published it.
   * Absent without a token, or if an older worker published it.
   */
  ttft_ms?: number | undefined
  /**
   * Time from the first token to the last, over all attempts (ms). Absent when the process that saw the last
   * token is gone.
   */
  decode_time_ms?: number | undefined
  /** Seed of the last attempt. */
  seed: number
  /** The whole answer, as the replica decoded it. */
  text: string
  /** Number of attempts. */
  attempts: number
  /** Whether the answer equals that of an uninterrupted run, because it has no best-effort seam. */
  exact: boolean
}

/** The `data` of an `error` event: the job failed or was cancelled, and nothing follows. */
export interface ErrorData {
  /** Why the job has no answer. */
  code:
    | 'INVALID_PARAMS'
    | 'DEADLINE_UNMET'
    | 'DECODE_TIMEOUT'
    | 'ADMISSION_REJECT'
    | 'QUEUE_FULL_DROP_LRU'
    | 'POOL_UNREADY'
    | 'POOL_UNAVAILABLE'
    | 'REPLICA_EXHAUSTED'
    | 'WORKER_RESET'
    | 'REPLAY_DIVERGED'
    | 'CANCELLED'
    | 'INTERNAL'
  /** What happened, for people. Contains no prompts or secrets. */
  message: string
  /** Whether the same job may succeed if enqueued again. */
  retriable: boolean
  /** How long to wait before that (ms), if known. */
  retry_after_ms?: number | undefined
  /** Tokens published before the error; they stay readable. */
  tokens_out?: number | undefined
  /** The inference engine. */
  engine: 'tgi'
  /** The pool of the job. */
  pool_id: string
  /** The replica of the last attempt. */
  replica_id?: string | undefined
  /** The last attempt, from 1. */
  attempt?: number | undefined
}

/** Where a job stands. */
export interface JobState {
  /** The job's id. */
  job_id: string
  /** The job's pool. */
  pool_id: string
  /**
   * The last three states are final. `cancelled`: it ended in `error` with the code `CANCELLED`; `failed`:
   * with any other code.
   */
  state: 'queued' | 'started' | 'ended' | 'failed' | 'cancelled'
  /** Id of the last event. Null for a waiting job that has no events yet. */
  last_id: string | null
  /** When it was accepted (ms since 1970, by Redis's clock). Absent for jobs of plain BullMQ producers. */
  accepted_at?: number | undefined
  /**
   * When its deadline passes; then it ends in `error` (ms since 1970, by Redis's clock). Absent for jobs of
   * plain BullMQ producers.
   */
  deadline_at?: number | undefined
  /** Attempts so far, including the running one. */
  attempts: number
  /** The replica of the last attempt. Absent before the first. */
  replica_id?: string | undefined
  /** Tokens published so far. */
  tokens_out: number
  /** The terminal event of a job that has `ended`, with its answer. */
  end?: EndData | undefined
  /** The terminal event of a job that has `failed` or was `cancelled`. */
  error?: ErrorData | undefined
}

/** A job in a list. */
export interface JobSummary {
  /** The job's id. */
  job_id: string
  /** `cancelled`: it ended in `error` with the code `CANCELLED`; `failed`: with any other code. */
  state: 'queued' | 'started' | 'ended' | 'failed' | 'cancelled'
  /** When it entered that state (ms since 1970, by Redis's clock). */
  since: number
  /** Interactive jobs go before batch jobs. */
  priority: 'interactive' | 'batch'
  /** When the job was accepted (ms since 1970, by Redis's clock). Absent if unknown. */
  accepted_at?: number | undefined
  /**
   * When the job's deadline passes; then it ends in `error` (ms since 1970, by Redis's clock). Absent if
   * unknown.
   */
  deadline_at?: number | undefined
  /** The job's `correlation_id`. */
  correlation_id?: string | undefined
  /** The code of its `error` event, if it has one. */
  code?:
    | 'INVALID_PARAMS'
    | 'DEADLINE_UNMET'
    | 'DECODE_TIMEOUT'
    | 'ADMISSION_REJECT'
    | 'QUEUE_FULL_DROP_LRU'
    | 'POOL_UNREADY'
    | 'POOL_UNAVAILABLE'
    | 'REPLICA_EXHAUSTED'
    | 'WORKER_RESET'
    | 'REPLAY_DIVERGED'
    | 'CANCELLED'
    | 'INTERNAL'
    | undefined
}

/** A pool's settings, whole. */
export interface PoolConfig {
  /**
   * Deadline of interactive jobs without `deadline_ms` (ms).
   *
   * Whole number, 1 or more.
   *
   * @defaultValue `600000`
   */
  deadline_ms: number
  /**
   * Deadline of batch jobs without `deadline_ms` (ms).
   *
   * Whole number, 1 or more.
   *
   * @defaultValue `86400000`
   */
  batch_deadline_ms: number
  /**
   * Longest `deadline_ms` of a job (ms); also caps the two defaults.
   *
   * Whole number, 1 or more.
   *
   * @defaultValue `86400000`
   */
  max_deadline_ms: number
  /**
   * `max_new_tokens` of jobs that set none.
   *
   * Whole number, 1 or more.
   *
   * @defaultValue `512`
   */
  max_new_tokens: number
  /**
   * Largest `max_new_tokens` of a job.
   *
   * Whole number, 1 or more.
   *
   * @defaultValue `65536`
   */
  max_max_new_tokens: number
  /**
   * Maximum bytes of prompt or messages, stop and grammar together. TGI's own limit is 2,000,000 for the whole
   * request.
   *
   * Whole number, 1 or more.
   *
   * @defaultValue `1500000`
   */
  max_input_bytes: number
  /**
   * Maximum number of waiting interactive jobs; more are refused.
   *
   * Whole number, 1 or more.
   *
   * @defaultValue `10000`
   */
  max_queued: number
  /**
   * Maximum number of waiting batch jobs; more are refused.
   *
   * Whole number, 1 or more.
   *
   * @defaultValue `100000`
   */
  batch_max_queued: number
  /**
   * Maximum bytes of all jobs that have not ended; more are refused. The default, 512 MiB, fits
   * `batch_max_queued` jobs of 5 KB each.
   *
   * Whole number, 1 or more.
   *
   * @defaultValue `536870912`
   */
  max_queued_bytes: number
  /**
   * Percentage of Redis's maxmemory above which new jobs are refused; the rest is reserved for accepted jobs.
   *
   * Whole number, 1 to 100.
   *
   * @defaultValue `80`
   */
  max_memory_percent: number
  /**
   * Slots of each replica that batch jobs may not use. Null: 1 if it has 4 or more, else 0.
   *
   * Whole number, 0 or more.
   *
   * @defaultValue `null`
   */
  reserved_slots: number | null
  /**
   * Maximum attempts of a job; overload, drains and refused connections do not count.
   *
   * Whole number, 1 or more.
   *
   * @defaultValue `5`
   */
  max_attempts: number
  /**
   * How long events stay readable after the end of jobs without `retention_ms` (ms); at most
   * `max_retention_ms`.
   *
   * Whole number, 1 or more.
   *
   * @defaultValue `3600000`
   */
  retention_ms: number
  /**
   * Longest `retention_ms` of a job (ms).
   *
   * Whole number, 1 or more.
   *
   * @defaultValue `604800000`
   */
  max_retention_ms: number
  /**
   * How long a replica may be silent before the first token (ms); then the attempt fails.
   *
   * Whole number, 1 or more.
   *
   * @defaultValue `120000`
   */
  first_token_timeout_ms: number
  /**
   * How long a replica may be silent between tokens (ms); then the attempt fails.
   *
   * Whole number, 1 or more.
   *
   * @defaultValue `60000`
   */
  token_timeout_ms: number
  /**
   * Interval of the `metrics` events of a running job (ms): 500 or more, or 0 for none.
   *
   * @defaultValue `0`
   */
  metrics_interval_ms: number
  /**
   * What to do with chats if the model's tokenizer puts a marker in front of every prompt but its chat
   * template does not: accept them, with one token more than on TGI's chat route, or refuse them.
   *
   * @defaultValue `"accept"`
   */
  chat_leading_marker: 'accept' | 'refuse'
  /**
   * The build and model that the pool requires; a replica that differs takes no jobs.
   *
   * @defaultValue `{}`
   */
  pin: Pin
}

/** The build and model that a pool insists on. */
export interface Pin {
  /** The build, as `replicas` shows it. Absent: any. */
  engine_version?: string | undefined
  /** The model, as the replica names it. Absent: any. */
  model_id?: string | undefined
  /** The model's revision; null: the replica reports none. Absent: any. */
  model_sha?: string | null | undefined
}

/** A replica and the worker that serves it, or stands by for it. */
export interface ReplicaEntry {
  /** The replica's id, unique in its pool. */
  replica_id: string
  /** The worker that serves it or stands by for it. */
  worker_id: string
  /** Its base URL, without credentials. */
  url: string
  /** Whether it takes jobs (`ready`), or why not. `lost`: its worker is gone. */
  state: 'ready' | 'unhealthy' | 'drifted' | 'draining' | 'window' | 'standby' | 'lost'
  /** Why it is not ready, or why it is ready although its health check does not answer. */
  reason?: string | undefined
  /** Its build, model and limits. Null until the replica has reported them. */
  versions: Versions | null
  /** Requests that its worker may hold open now. */
  slots: number
  /** Maximum open requests that its worker was configured with. */
  slots_configured: number
  /** Requests that are open now. */
  busy: number
  /** How long a recent job held a slot on average (ms). Absent until one has ended. */
  job_ms?: number | undefined
  /** Jobs that have ended since the worker started, from which `job_ms` is computed. Absent: none. */
  job_count?: number | undefined
  /** What it can do: generate, chat. */
  capabilities: string[]
  /** When the worker last wrote this (ms since 1970, by Redis's clock). */
  updated_at: number
}

/** A replica's build, model and limits. */
export interface Versions {
  /** The inference engine. */
  engine: 'tgi'
  /** Its build, `<version>+<docker label or first 7 of the commit>`. */
  engine_version: string
  /** The model, as the replica names it. */
  model_id: string
  /** The model's revision; null when the replica reports none. */
  model_sha: string | null
  /** Maximum tokens of a prompt, if reported. */
  max_input_tokens?: number | undefined
  /** Maximum tokens of prompt and answer together. */
  max_total_tokens: number
  /** Maximum concurrent requests, if reported. */
  max_concurrent_requests?: number | undefined
}

/**
 * A job's body as a producer writes it: exactly one of `inputs` and `messages`, and any field that should differ from its default.
 * Unknown fields are refused.
 */
export type JobInput = PromptJob | ChatJob
