/**
 * Holds the types in src/contract/wire-types.ts, which are written out for their comments, and the schemas that check what comes in
 * equal, both ways. Compiled by `npm run types`, never run.
 */
import { expectTypeOf } from 'vitest'
import type { z } from 'zod'
import type { EVENT_SCHEMAS } from '../../src/contract/event.ts'
import type { jobSchema } from '../../src/contract/job.ts'
import type { jobStateSchema } from '../../src/contract/job-state.ts'
import type { jobSummarySchema } from '../../src/contract/job-summary.ts'
import type { parametersSchema } from '../../src/contract/parameters.ts'
import type { poolConfigSchema } from '../../src/contract/pool-config.ts'
import type { replicaEntrySchema } from '../../src/contract/replica-entry.ts'
import type {
  ChatJob,
  ChatMessage,
  EventData,
  GenerationParameters,
  JobFields,
  JobInput,
  JobState,
  JobSummary,
  PoolConfig,
  PromptJob,
  ReplicaEntry,
} from '../../src/index.ts'

/** Two types are equal if no conditional type can tell them apart; unlike `toEqualTypeOf` this sees `readonly` and `?`. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- it is what makes the two comparable
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

/** An intersection or a mapped type as the object that it is, at every depth. */
type Plain<T> = T extends object ? { [Key in keyof T]: Plain<T[Key]> } : T

function same<A, B>(_equal: Same<Plain<A>, Plain<B>>): void {}

type Body = z.input<typeof jobSchema>
type Given<Field extends 'inputs' | 'messages'> = NonNullable<Body[Field]>
type Rest = Omit<Body, 'inputs' | 'messages'>

same<GenerationParameters, z.input<typeof parametersSchema>>(true)
same<GenerationParameters, z.output<typeof parametersSchema>>(true)
same<ChatMessage, Given<'messages'>[number]>(true)
same<JobFields, Rest>(true)
same<PromptJob, Rest & { inputs: Given<'inputs'>; messages?: undefined }>(true)
same<ChatJob, Rest & { messages: Given<'messages'>; inputs?: undefined }>(true)
same<JobInput, PromptJob | ChatJob>(true)
expectTypeOf<JobInput>().toExtend<Body>()

same<EventData, { readonly [Name in keyof typeof EVENT_SCHEMAS]: z.output<(typeof EVENT_SCHEMAS)[Name]> }>(
  true,
)
same<JobState, z.output<typeof jobStateSchema>>(true)
same<JobSummary, z.output<typeof jobSummarySchema>>(true)
same<PoolConfig, z.output<typeof poolConfigSchema>>(true)
same<ReplicaEntry, z.output<typeof replicaEntrySchema>>(true)

// The proof proves something.
same<{ a?: string }, { a?: string | undefined }>(false)
same<{ readonly a: string }, { a: string }>(false)
same<{ a: string }, { a: string; b?: string }>(false)
