import type { ChatJob, GenerationParameters, JobInput, PromptJob } from '../../src/contract/wire-types.ts'
import type { Fault } from '../../src/simulator/faults.ts'
import type { Random } from './random.ts'

/** What jobs may ask for when an answer is interrupted. */
export const ON_INTERRUPT = ['continue', 'replay', 'fail'] as const

/** One of {@link ON_INTERRUPT}. */
export type OnInterrupt = (typeof ON_INTERRUPT)[number]

/** What the mix is made of. */
export interface MixOptions {
  /** What jobs may ask for; with `continue` alone the field is left out, too, half of the time. */
  readonly onInterrupt: readonly OnInterrupt[]
  /** Some answers are longer than 1024 tokens, which the replica generates in slices. */
  readonly long: boolean
}

/** A job and what becomes of it by its producer's will. */
export interface DrawnJob {
  readonly body: JobInput
  /** It is cancelled so long after it was accepted (ms). */
  readonly cancelAfterMs: number | undefined
}

/** What some prompts do to the replica that reads them, for as long as the faults last. */
export const POISONS: readonly Fault[] = [
  { kind: 'generation-error', match: '[poison:stream]' },
  { kind: 'generation-error', match: '[poison:batch]', batch: true },
  { kind: 'no-final-event', match: '[poison:no-end]', after: 3 },
  { kind: 'http-502', match: '[poison:proxy]' },
]

/** Draws one job. Prompts carry the number of the job, so that no two are alike. */
export function drawJob(random: Random, n: number, options: MixOptions): DrawnJob {
  const parameters = drawParameters(random, options)
  const onInterrupt = drawOnInterrupt(random, options)
  const body: JobInput = {
    ...drawPrompt(random, n),
    parameters,
    ...(onInterrupt === undefined ? {} : { on_interrupt: onInterrupt }),
    ...(random.chance(0.3) ? { priority: 'batch' as const } : {}),
    ...(random.chance(0.07) ? { deadline_ms: random.between(300, 4000) } : {}),
  }
  return { body, cancelAfterMs: random.chance(0.08) ? random.between(0, 3000) : undefined }
}

function drawOnInterrupt(random: Random, { onInterrupt }: MixOptions): OnInterrupt | undefined {
  if (onInterrupt.includes('continue') && random.chance(0.3)) return undefined
  return random.pick(onInterrupt)
}

function drawPrompt(random: Random, n: number): Pick<PromptJob, 'inputs'> | Pick<ChatJob, 'messages'> {
  const prompt = `Story ${n} tells of the ${random.pick(['river', 'lantern', 'garden', 'harbor', 'fox'])}${drawOrders(random)}${drawPoison(random)}`
  if (random.chance(0.8)) return { inputs: prompt }
  const system = random.chance(0.5) ? [{ role: 'system', content: 'Answer briefly.' }] : []
  return { messages: [...system, { role: 'user', content: prompt }] }
}

function drawPoison(random: Random): string {
  return random.chance(0.02) ? ` ${random.pick(POISONS).match ?? ''}` : ''
}

/** Places where going on is hard: an early end, a character of several tokens, two tokens that would become one. */
function drawOrders(random: Random): string {
  const orders = random.weighted({ none: 75, eos: 12, emoji: 8, merge: 5 })
  return orders === 'none' ? '' : ` [${orders}:${random.between(1, 60)}]`
}

function drawParameters(random: Random, { long }: MixOptions): GenerationParameters {
  return {
    max_new_tokens: drawBudget(random, long),
    ...drawSampling(random),
    ...(random.chance(0.12) ? { stop: [random.pick([' river', ' the moon', '. The', '!', ' and'])] } : {}),
    ...(random.chance(0.05) ? { top_n_tokens: 2 } : {}),
    ...(random.chance(0.05) ? { repetition_penalty: 1.1 } : {}),
    // The simulator holds to none; what it does to an answer that is interrupted is ours.
    ...(random.chance(0.06) ? { grammar: { type: 'regex', value: '.*' } } : {}),
  }
}

function drawBudget(random: Random, long: boolean): number {
  const size = random.weighted({ tiny: 15, middling: 60, big: 25, huge: long ? 2 : 0 })
  switch (size) {
    case 'tiny':
      return random.between(1, 3)
    case 'middling':
      return random.between(10, 120)
    case 'big':
      return random.between(120, 300)
    case 'huge':
      return random.between(1025, 1500)
  }
}

function drawSampling(random: Random): GenerationParameters {
  const kind = random.weighted({ greedy: 50, seeded: 30, unseeded: 20 })
  if (kind === 'greedy') return random.chance(0.5) ? { do_sample: false } : {}
  const sampling = { do_sample: true, temperature: random.pick([0.5, 0.8, 1.3]) }
  return kind === 'seeded' ? { ...sampling, seed: random.between(0, 2 ** 31) } : { ...sampling, top_p: 0.9 }
}
