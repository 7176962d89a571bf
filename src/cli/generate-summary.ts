import type { EventData, JobEvent } from '../contract/event.ts'
import type { Restart } from '../stream/reader.ts'
import { formatDuration } from './format-duration.ts'

/** Passes events on and remembers what the summary of an answer needs. */
export interface AnswerWatch {
  watch(events: AsyncIterable<JobEvent | Restart>): AsyncGenerator<JobEvent | Restart, void, undefined>
  /** One line about the answer; undefined without one. */
  readonly summary: string | undefined
}

/** Watches an answer from its first event on. */
export function watchAnswer(): AnswerWatch {
  let replica: string | undefined
  let end: EventData['end'] | undefined
  return {
    async *watch(events) {
      for await (const event of events) {
        if (event.event === 'started') replica = event.data.replica_id
        if (event.event === 'end') end = event.data
        yield event
      }
    },
    get summary() {
      return end && summarize(end, replica)
    },
  }
}

/** `8 tokens, 49.7 tokens/s, queued 4 ms, time to first token 31 ms, replica gpu-1, 1 attempt`; leaves out what is unknown. */
export function summarize(end: EventData['end'], replica: string | undefined): string {
  const { tokens_out: tokens, decode_time_ms: decodeMs = 0, attempts } = end
  return [
    plural(tokens, 'token'),
    // The decode time starts at the first token, so it does not count.
    decodeMs > 0 && tokens > 1 ? `${(((tokens - 1) / decodeMs) * 1000).toFixed(1)} tokens/s` : undefined,
    `queued ${formatDuration(end.queue_time_ms)}`,
    end.ttft_ms === undefined ? undefined : `time to first token ${formatDuration(end.ttft_ms)}`,
    replica === undefined ? undefined : `replica ${replica}`,
    plural(attempts, 'attempt'),
  ]
    .filter((part) => part !== undefined)
    .join(', ')
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
