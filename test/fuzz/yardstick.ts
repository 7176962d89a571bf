/** A piece of work like that of a gateway: JSON of many small values, read and written. */
const TEXT = JSON.stringify(
  Array.from({ length: 12_000 }, (_, n) => ({
    role: 'user',
    content: `word ${n}`,
    n,
    list: [n, null, `${n}`],
  })),
)

/** What the work takes on an idle cloud machine of 2026 (ms). Beside 20 busy processes it takes 15 there, now and then 30. */
const USUAL_MS = 10
const TIMES = 5

/** How many times slower than usual this machine is right now, from 1 on: a slow or busy one makes every block longer. */
export function measureSlowness(): number {
  const times = Array.from({ length: TIMES }, work).toSorted((a, b) => a - b)
  const median = times[Math.floor(TIMES / 2)] ?? USUAL_MS
  return Math.max(1, median / USUAL_MS)
}

/** Does the work; how long this thread ran for it (ms). */
function work(): number {
  const before = process.threadCpuUsage()
  JSON.stringify(JSON.parse(TEXT))
  const { user, system } = process.threadCpuUsage(before)
  return (user + system) / 1000
}
