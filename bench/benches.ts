import { cancel } from './cancel.ts'
import { depth } from './depth.ts'
import { firstByte } from './first-byte.ts'
import { handover } from './handover.ts'
import { jobList } from './job-list.ts'
import { latency } from './latency.ts'
import { memory } from './memory.ts'
import { pickUp } from './pick-up.ts'
import { poison } from './poison.ts'
import { rivalsDeath } from './rivals-death.ts'
import { rivalsLatency } from './rivals-latency.ts'
import { rivalsMemory } from './rivals-memory.ts'
import { rivalsReconnect } from './rivals-reconnect.ts'
import { rivalsThroughput } from './rivals-throughput.ts'
import type { Bench } from './support/report.ts'
import { subscribers } from './subscribers.ts'
import { throughput } from './throughput.ts'

/** All there are, in the order they run. */
export const BENCHES: readonly Bench[] = [
  throughput,
  latency,
  pickUp,
  cancel,
  handover,
  memory,
  depth,
  jobList,
  poison,
  rivalsThroughput,
  rivalsLatency,
  rivalsReconnect,
  rivalsMemory,
  rivalsDeath,
  firstByte,
  subscribers,
]
