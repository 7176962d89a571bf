import type { Redis } from 'ioredis'
import { acceptedIds, checkOutcome } from './check-answers.ts'
import type { AnswerFault } from './check-answers.ts'
import { converse } from './converse.ts'
import type { Shot } from './shot.ts'

/** What came of a shot at once. */
export interface Fired {
  readonly faults: readonly AnswerFault[]
  /** Jobs that must end. */
  readonly jobIds: readonly string[]
}

/** Where shots go. */
export interface Target {
  readonly redis: Redis
  readonly gatewayPort: number
}

/** Sends a shot and checks what is answered. */
export async function fire({ redis, gatewayPort }: Target, shot: Shot): Promise<Fired> {
  if (shot.kind === 'job') {
    for (const [command, ...args] of shot.commands) await redis.call(command, ...args)
    return { faults: [], jobIds: shot.jobIds }
  }
  const { conversations, mayOverload = false, forgets = false } = shot
  const outcomes = await Promise.all(
    conversations.map(async (conversation) => ({
      conversation,
      outcome: await converse(gatewayPort, conversation),
    })),
  )
  return {
    faults: outcomes.flatMap(
      ({ conversation, outcome }) => checkOutcome(conversation, outcome, mayOverload) ?? [],
    ),
    jobIds: forgets ? [] : [...new Set(outcomes.flatMap(({ outcome }) => acceptedIds(outcome)))],
  }
}
