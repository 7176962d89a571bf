import type { Interval, OverdueEvidence, OverloadEvidence, RestEvidence, Violation } from './evidence.ts'

/** By its deadline and this, a job is over. */
export const DEADLINE_GRACE_MS = 2000

/** How everything has to stand when all is at rest: nothing open, nothing busy, nothing waiting, no lease of the dead. */
export function checkRest(rest: RestEvidence): Violation[] {
  const found: Violation[] = []
  const report = (message: string): void => {
    found.push({ check: 'rest', message })
  }
  for (const { replicaId, ...counts } of rest.simulators) {
    for (const [what, count] of Object.entries(counts))
      if (count !== 0) report(`simulator ${replicaId}: ${what} is ${count}`)
  }
  for (const { replica_id: replicaId, worker_id: workerId, busy, state } of rest.replicas) {
    if (busy !== 0) report(`registry: ${replicaId} has ${busy} busy slots (${workerId}, ${state})`)
  }
  for (const { replicaId, workerId } of rest.leases) {
    if (!rest.workers.includes(workerId))
      report(`lease: ${replicaId} is held by ${workerId}, which does not run`)
  }
  if (rest.queued !== 0) report(`queue: holds ${rest.queued} jobs`)
  if (rest.deadlines !== 0) report(`deadlines: of ${rest.deadlines} jobs are still watched`)
  return found
}

/**
 * Jobs that were not over in time. While Redis is away nobody can end a job, so the time counts from when it is back
 * if it was away then.
 */
export function checkOverdue(overdue: readonly OverdueEvidence[], away: readonly Interval[]): Violation[] {
  const latest = new Map<string, Violation>()
  for (const { jobId, deadlineAt, seenAt } of overdue) {
    const due = dueAt(deadlineAt, away)
    if (seenAt <= due) continue
    const message = `was not over ${Math.round(seenAt - deadlineAt)} ms after its deadline, ${Math.round(seenAt - due)} ms too late`
    latest.set(jobId, { check: 'deadline', jobId, message })
  }
  return [...latest.values()]
}

function dueAt(deadlineAt: number, away: readonly Interval[]): number {
  let due = deadlineAt + DEADLINE_GRACE_MS
  for (const { from, to } of away.toSorted((a, b) => a.from - b.from)) {
    if (from <= due && to >= deadlineAt) due = Math.max(due, to + DEADLINE_GRACE_MS)
  }
  return due
}

/**
 * Replicas that had more requests open than their worker has slots. `excused` are the times when a worker of that
 * replica was stopped or had just been killed: its sockets live until it wakes.
 */
export function checkOverloads(
  overloads: readonly OverloadEvidence[],
  excused: ReadonlyMap<string, readonly Interval[]>,
): Violation[] {
  return overloads
    .filter(({ replicaId, at }) =>
      (excused.get(replicaId) ?? []).every(({ from, to }) => at < from || at > to),
    )
    .map(({ replicaId, slots, open }) => ({
      check: 'requests',
      message: `simulator ${replicaId} had ${open} requests open, its worker has ${slots} slots`,
    }))
}
