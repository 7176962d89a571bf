import { StringDecoder } from 'node:string_decoder'

import { createParser } from 'eventsource-parser'

/** The most an unfinished event may hold (UTF-16 units). TGI's largest, its last, holds the whole answer. */
const MAX_EVENT_CHARS = 1024 * 1024

/** Bytes of an event stream go in, in any cut; the data of its events come out. */
export interface SseReader {
  /** Emits every event that `chunk` completes, in order, before it returns. */
  push(chunk: Buffer): void
}

/**
 * Reads an event stream by the HTML standard (9.2.6, "Interpreting an event stream"): `data:` with and without a
 * space, LF, CR and CRLF, comments skipped. `onOverflow` is called once when an event passes 1 MiB; nothing may be
 * pushed after that.
 */
export function createSseReader(onData: (data: string) => void, onOverflow: () => void): SseReader {
  // The parser takes strings; a character cut in two by the network has to wait for its other half.
  const decoder = new StringDecoder('utf8')
  const parser = createParser({
    maxBufferSize: MAX_EVENT_CHARS,
    onEvent: (event) => onData(event.data),
    onError(error) {
      if (error.type === 'max-buffer-size-exceeded') onOverflow()
    },
  })
  return {
    push(chunk) {
      parser.feed(decoder.write(chunk))
    },
  }
}
