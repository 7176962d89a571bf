import type { JobEvent } from '../../src/contract/event.ts'
import type { Check, JobEvidence } from './evidence.ts'

type Report = (check: Check, message: string) => void

/** Whether something explains the error that a job ended in. One that nothing explains is a job that was lost. */
export function checkErrorCode(job: JobEvidence, events: readonly JobEvent[], report: Report): void {
  const error = events.find((event) => event.event === 'error')?.data
  if (error === undefined) return
  const tokens = events.filter(({ event }) => event === 'token').length
  const attempts = events.filter(({ event }) => event === 'started').length
  if (error.tokens_out !== undefined && error.tokens_out !== tokens)
    report('answer', `error says ${error.tokens_out} tokens, there are ${tokens}`)
  const lost = (why: string) => report('lost', `ended in ${error.code} (${error.message}): ${why}`)
  switch (error.code) {
    case 'CANCELLED':
      if (!job.cancelAsked) lost('nobody asked for it')
      return
    case 'DEADLINE_UNMET':
      checkDeadline(job, events, lost)
      if (job.body.deadline_ms === undefined && !job.lost.acceptance) lost('it had all the time it needs')
      if (attempts > 0) report('answer', `never started, says the error; there are ${attempts} attempts`)
      return
    case 'DECODE_TIMEOUT':
      checkDeadline(job, events, lost)
      if (attempts === 0) report('answer', 'had started, says the error; there is no attempt')
      return
    case 'WORKER_RESET':
      if (tokens === 0) lost('it had no tokens')
      else if (!job.noResume && job.body.on_interrupt !== 'fail' && attempts < job.maxAttempts)
        lost(`it was to go on, and had ${attempts} of ${job.maxAttempts} attempts`)
      return
    case 'REPLICA_EXHAUSTED':
      if (tokens > 0) lost(`it had ${tokens} tokens`)
      else if (attempts < job.maxAttempts) lost(`it had ${attempts} of ${job.maxAttempts} attempts`)
      return
    case 'INVALID_PARAMS':
    case 'ADMISSION_REJECT':
    case 'QUEUE_FULL_DROP_LRU':
    case 'POOL_UNREADY':
    case 'POOL_UNAVAILABLE':
    case 'REPLAY_DIVERGED':
    case 'INTERNAL':
      lost('no fault of ours leads to that')
  }
}

/** A deadline may not strike before its time. */
function checkDeadline(job: JobEvidence, events: readonly JobEvent[], lost: (why: string) => void): void {
  const queued = events.find((event) => event.event === 'queued')?.data
  if (queued === undefined || job.sealSeenAt === undefined || job.lost.seal) return
  const early = queued.deadline_at - job.sealSeenAt
  if (early > 0) lost(`that was seen ${early} ms before its deadline`)
}
