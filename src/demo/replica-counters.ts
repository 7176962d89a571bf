import { createTgiClient } from '../tgi/client.ts'

/** What a replica itself says of its requests (`/metrics`, TGI 3.3.7). */
export interface ReplicaCounters {
  /** Requests whose client went away, since it started (`tgi_request_failure{err="dropped"}`). */
  readonly dropped: number
  /** Requests in the running batch (`tgi_batch_current_size`). */
  readonly running: number
}

/** Reads a replica's counters; one that was never used is not there yet and counts as 0. */
export async function readCounters(url: string): Promise<ReplicaCounters> {
  const client = createTgiClient({ url })
  try {
    const text = await client.metrics()
    return {
      dropped: valueOf(text, /^tgi_request_failure\{[^}]*err="dropped"[^}]*\} (\S+)$/m),
      running: valueOf(text, /^tgi_batch_current_size(?:\{[^}]*\})? (\S+)$/m),
    }
  } finally {
    await client.close()
  }
}

function valueOf(text: string, line: RegExp): number {
  return Number(line.exec(text)?.[1] ?? 0)
}
