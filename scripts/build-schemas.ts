import { z } from 'zod'
import { EVENT_SCHEMAS } from '../src/contract/event.ts'
import { jobIdSchema } from '../src/contract/ids.ts'
import { jobSchema } from '../src/contract/job.ts'
import { jobStateSchema } from '../src/contract/job-state.ts'
import { poolConfigSchema } from '../src/contract/pool-config.ts'
import { replicaEntrySchema } from '../src/contract/replica-entry.ts'
import { buildOpenApi } from '../src/gateway/openapi.ts'

type JsonSchema = Record<string, unknown>

/**
 * The JSON Schemas of everything on the wire, by file name, for producers and consumers in other languages. The
 * input side: what may be left out is optional.
 */
export function buildSchemas(): Record<string, JsonSchema> {
  const events = Object.fromEntries(
    Object.entries(EVENT_SCHEMAS).map(([name, schema]) => [
      `event-${name}.json`,
      convert(schema, `The data of a \`${name}\` event`),
    ]),
  )
  return {
    'job.json': {
      ...convert(jobSchema, 'A job: the `data` of a BullMQ job named `generate`'),
      // What zod checks in code: one prompt, given in one of two ways.
      oneOf: [{ required: ['inputs'] }, { required: ['messages'] }],
    },
    'job-id.json': convert(jobIdSchema, 'A job id'),
    ...events,
    'pool-config.json': convert(poolConfigSchema, "A pool's config: the fields of its HASH, each value JSON"),
    'replica-entry.json': convert(replicaEntrySchema, 'An entry of the registry'),
    'job-state.json': convert(jobStateSchema, 'Where a job stands'),
    // Not a schema but the whole HTTP API, as the gateway itself serves it.
    'openapi.json': buildOpenApi(),
  }
}

function convert(schema: z.ZodType, title: string): JsonSchema {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io: 'input', target: 'draft-2020-12' })
  return { $schema, title, ...rest }
}

/** A schema as its file has it. */
export function formatSchema(schema: JsonSchema): string {
  return `${JSON.stringify(schema, null, 2)}\n`
}
