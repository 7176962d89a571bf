import type { Random } from './random.ts'
import { REFUSAL_KINDS } from './redis-stage.ts'
import type { Refusal } from './redis-stage.ts'

/** How often each fault is drawn, against the others. */
const WEIGHTS = {
  'worker-kill': 18,
  'worker-freeze': 9,
  'worker-drain': 7,
  'workers-roll': 1,
  'worker-line-cut': 6,
  'worker-line-stall': 5,
  'simulator-kill': 7,
  'simulator-fault': 34,
  'consumer-line-cut': 4,
  'consumer-line-stall': 2,
  'redis-clients-kill': 5,
  'redis-freeze': 3,
  'redis-kill': 2,
  'redis-refuse': 4,
} as const

/** The same where Redis may also lose what it had acknowledged. */
const LOSSY_WEIGHTS = { ...WEIGHTS, 'redis-lose': 4 } as const

/** What goes wrong. */
type FaultKind = keyof typeof LOSSY_WEIGHTS

/** A fault to come. */
export interface ScheduledFault {
  /** From the start of the faults. */
  readonly atMs: number
  readonly kind: FaultKind
  /** Which worker or simulator, from 0; 0 where there is none. */
  readonly target: number
  /** How long it lasts, or how long what was killed stays away. */
  readonly ms: number
  /** What the simulator is told, for `simulator-fault`. */
  readonly body?: Readonly<Record<string, unknown>> | undefined
  /** How Redis refuses, for `redis-refuse`. */
  readonly refusal?: Refusal | undefined
  /** How long before its end Redis loses everything, for `redis-lose`. */
  readonly loseMs?: number | undefined
}

/** What is drawn for. */
export interface ScheduleOptions {
  readonly lastMs: number
  /** Between two faults, on average. */
  readonly gapMs: number
  readonly workers: number
  readonly simulators: number
  /** A worker's lock: what is frozen is frozen for longer than that, mostly. */
  readonly lockMs: number
  /** Whether Redis may lose what it had acknowledged. */
  readonly lossy: boolean
}

/** Draws every fault of a run before it begins. */
export function drawSchedule(random: Random, options: ScheduleOptions): ScheduledFault[] {
  const faults: ScheduledFault[] = []
  let atMs = 0
  for (;;) {
    // Sometimes two at once, sometimes a rest.
    atMs += random.chance(0.15) ? 0 : random.between(Math.round(options.gapMs / 4), options.gapMs * 2)
    if (atMs >= options.lastMs) return faults
    faults.push(drawFault(random, atMs, options))
  }
}

function drawFault(random: Random, atMs: number, options: ScheduleOptions): ScheduledFault {
  const kind = random.weighted<FaultKind>(options.lossy ? LOSSY_WEIGHTS : { ...WEIGHTS, 'redis-lose': 0 })
  const ofWorkers = kind.startsWith('worker')
  const target = random.between(0, (ofWorkers ? options.workers : options.simulators) - 1)
  const fault = { atMs, kind, target, ms: drawMs(random, kind, options.lockMs) }
  if (kind === 'simulator-fault') return { ...fault, body: drawSimulatorFault(random) }
  if (kind === 'redis-lose') return { ...fault, loseMs: random.between(20, 400) }
  return kind === 'redis-refuse' ? { ...fault, refusal: random.pick(REFUSAL_KINDS) } : fault
}

function drawMs(random: Random, kind: FaultKind, lockMs: number): number {
  switch (kind) {
    case 'worker-freeze':
    case 'worker-line-stall':
      return Math.round(lockMs * (0.3 + random.next() * 2))
    case 'redis-freeze':
    case 'redis-refuse':
      return random.between(500, 3000)
    case 'consumer-line-stall':
      return random.between(300, 3000)
    case 'worker-kill':
    case 'worker-drain':
    case 'simulator-kill':
    case 'redis-kill':
    case 'redis-lose':
      return random.between(100, 1500)
    case 'workers-roll':
    case 'worker-line-cut':
    case 'consumer-line-cut':
    case 'simulator-fault':
    case 'redis-clients-kill':
      return 0
  }
}

/** What `POST /simulator/faults` is given. Each strikes a few requests and is over then. */
function drawSimulatorFault(random: Random): Record<string, unknown> {
  const kind = random.weighted({
    crash: 8,
    'generation-error': 5,
    'no-final-event': 4,
    incomplete: 3,
    malformed: 2,
    stall: 4,
    freeze: 2,
    overloaded: 4,
    'slow-prefill': 3,
    'hang-headers': 1,
    'http-500': 2,
    refuse: 2,
    cut: 2,
    merge: 1,
    unhealthy: 2,
    drift: 2,
  })
  const times = random.between(1, 3)
  switch (kind) {
    case 'crash':
      return { kind, after: random.between(0, 80), times, mid_frame: random.chance(0.3) }
    case 'generation-error':
      return { kind, after: random.between(0, 80), times, batch: random.chance(0.2) }
    case 'no-final-event':
    case 'incomplete':
    case 'malformed':
      return { kind, after: random.between(0, 80), times }
    case 'stall':
    case 'freeze':
      return { kind, after: random.between(0, 40), times }
    case 'overloaded':
      return { kind, times: random.between(1, 8) }
    case 'slow-prefill':
      return { kind, times, ms: random.between(200, 3000) }
    case 'hang-headers':
    case 'http-500':
      return { kind, times, path: '/generate_stream' }
    case 'refuse':
    case 'cut':
    case 'merge':
    case 'unhealthy':
    case 'drift':
      return { kind, times }
  }
}
