/**
 * The names that other servers and libraries use for the fields of a job, and what to write instead: those of OpenAI, TGI's
 * clients, vLLM, llama.cpp and Ollama that people are likely to carry over.
 */
import type { FieldHints } from './unknown-fields.ts'

const ONE_ANSWER = 'a job has one answer: enqueue it once for each'
const NOT_IN_TGI = 'TGI has no such parameter'

/** Names for the length of an answer. */
const LENGTHS = [
  'max_tokens',
  'max_completion_tokens',
  'max_output_tokens',
  'max_length',
  'max_gen_len',
  'n_predict',
  'num_predict',
]
const STOPS = ['stop_sequences', 'stop_sequence', 'stop_words', 'stop_strings']
const PROMPTS = ['prompt', 'input', 'text', 'content', 'query', 'question']
const COUNTS = ['n', 'num_return_sequences', 'candidate_count', 'num_generations']
const GRAMMARS = ['response_format', 'json_schema', 'guided_json', 'guided_regex', 'guided_grammar']
const UNSUPPORTED = ['logit_bias', 'min_p', 'min_tokens', 'min_length', 'min_new_tokens', 'mirostat', 'tfs_z']

function table(...rows: (readonly [names: readonly string[], hint: string])[]): FieldHints {
  return new Map(rows.flatMap(([names, hint]) => names.map((name) => [name, hint] as const)))
}

/** Hints for generation parameters; `where` is their path: `parameters.` or nothing. */
function ofParameters(where: string): FieldHints {
  return table(
    [LENGTHS, `use ${where}max_new_tokens`],
    [STOPS, `use ${where}stop`],
    [GRAMMARS, `use ${where}grammar`],
    [COUNTS, ONE_ANSWER],
    [['best_of'], ONE_ANSWER],
    [['stream', 'streaming', 'stream_options'], 'leave it out: every job streams'],
    [['logprobs'], 'leave it out: every token has its logprob'],
    [['top_logprobs', 'n_probs'], `use ${where}top_n_tokens`],
    [['repeat_penalty'], `use ${where}repetition_penalty`],
    [['presence_penalty'], `${NOT_IN_TGI}; use ${where}frequency_penalty or ${where}repetition_penalty`],
    [['random_seed'], `use ${where}seed`],
    [['temp'], `use ${where}temperature`],
    [['lora', 'lora_id', 'lora_name', 'adapter'], `use ${where}adapter_id`],
    [['echo', 'return_full_text'], 'leave it out: the prompt is never part of the answer'],
    [['truncate', 'truncation'], 'leave it out: prompts are never cut silently'],
    [['details'], 'leave it out: details are always on'],
    [['decoder_input_details'], 'leave it out: TGI refuses it when streaming'],
    [UNSUPPORTED, NOT_IN_TGI],
  )
}

const MODEL = table([
  ['model', 'model_id', 'model_name'],
  'leave it out: a pool serves one model, so choose the pool instead',
])

/** Hints for a job, given the names of its parameters. */
export function jobHints(parameters: readonly string[]): FieldHints {
  return new Map([
    ...parameters.map((name) => [name, `use parameters.${name}`] as const),
    ...ofParameters('parameters.'),
    ...MODEL,
    ...table(
      [PROMPTS, 'use inputs'],
      [['message', 'chat', 'conversation', 'history'], 'use messages'],
      [['system', 'system_prompt', 'instructions'], 'use messages, the first one with the role system'],
      [['params', 'options', 'generation_config', 'sampling_params'], 'use parameters'],
      [['functions', 'function_call', 'parallel_tool_calls'], 'tools are not supported yet'],
      [['pool', 'pool_id'], 'the pool is not part of the job: choose it where you enqueue, e.g. --pool'],
      [['job_id'], "the id is not part of the job: use the option jobId of the library or of BullMQ's add"],
      [
        ['id', 'jobId', 'custom_id', 'idempotency_key'],
        'use job_id over HTTP and in a file, the option jobId in the library',
      ],
      [['timeout', 'timeout_ms', 'deadline', 'ttl'], 'use deadline_ms'],
      [['request_id', 'trace_id'], 'use correlation_id'],
      [['user', 'user_id'], 'use tenant'],
      [['metadata'], 'use correlation_id, session_id or tenant'],
    ),
  ])
}

/** Fields of a job that people wrongly put in its parameters. */
const JOB_FIELDS = [
  'inputs',
  'messages',
  'deadline_ms',
  'retention_ms',
  'priority',
  'on_interrupt',
  'correlation_id',
  'tenant',
]

/** Hints for the parameters of a job. */
export const PARAMETER_HINTS: FieldHints = new Map([
  ...JOB_FIELDS.map((name) => [name, `put ${name} next to parameters`] as const),
  ...ofParameters(''),
  ...MODEL,
  ...table([PROMPTS, 'put inputs next to parameters']),
])

/** Hints for a message of a chat. */
export const MESSAGE_HINTS: FieldHints = table(
  [['text', 'message', 'value'], 'use content'],
  [['from', 'author', 'speaker'], 'use role'],
)
