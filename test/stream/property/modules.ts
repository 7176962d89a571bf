import type * as pickUpModule from '../../../src/attempt/pick-up.ts'
import type * as enqueueModule from '../../../src/client/enqueue.ts'
import type * as writerModule from '../../../src/stream/attempt-writer.ts'
import type * as sweepModule from '../../../src/stream/deadline-sweep.ts'
import type * as logModule from '../../../src/stream/event-log.ts'
import type * as hubModule from '../../../src/stream/hub.ts'
import type * as readerModule from '../../../src/stream/reader.ts'
import type * as sealModule from '../../../src/stream/seal.ts'

/** The code under test, as one set: the real one or a mutant. */
export interface Modules {
  readonly enqueueJob: typeof enqueueModule.enqueueJob
  readonly pickUp: typeof pickUpModule.pickUp
  readonly createAttemptWriter: typeof writerModule.createAttemptWriter
  readonly sweepDeadlines: typeof sweepModule.sweepDeadlines
  readonly createEventLog: typeof logModule.createEventLog
  readonly createHub: typeof hubModule.createHub
  readonly readEvents: typeof readerModule.readEvents
  readonly cancelJob: typeof sealModule.cancelJob
}

/** The folder of the real sources. */
export const SOURCES = new URL('../../../src/', import.meta.url)

/** Loads the code under test from a folder that is laid out as `src` is. */
export async function loadModules(folder: URL = SOURCES): Promise<Modules> {
  const load = (path: string): Promise<unknown> => import(/* @vite-ignore */ new URL(path, folder).pathname)
  const { enqueueJob } = (await load('client/enqueue.ts')) as typeof enqueueModule
  const { pickUp } = (await load('attempt/pick-up.ts')) as typeof pickUpModule
  const { createAttemptWriter } = (await load('stream/attempt-writer.ts')) as typeof writerModule
  const { sweepDeadlines } = (await load('stream/deadline-sweep.ts')) as typeof sweepModule
  const { createEventLog } = (await load('stream/event-log.ts')) as typeof logModule
  const { createHub } = (await load('stream/hub.ts')) as typeof hubModule
  const { readEvents } = (await load('stream/reader.ts')) as typeof readerModule
  const { cancelJob } = (await load('stream/seal.ts')) as typeof sealModule
  return {
    enqueueJob,
    pickUp,
    createAttemptWriter,
    sweepDeadlines,
    createEventLog,
    createHub,
    readEvents,
    cancelJob,
  }
}
