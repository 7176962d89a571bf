import { once } from 'node:events'
import { connect } from 'node:net'
import { Worker } from 'node:worker_threads'

import { onTestFinished } from 'vitest'

/** A server that lets nobody in until told. */
interface StuckListener {
  readonly url: string
  /** Lets everybody in. */
  readonly release: () => void
  /** The authorization headers of all generations that got through so far. */
  readonly seen: () => Promise<unknown>
}

/** A listener whose backlog is full: whoever connects now waits for its handshake. */
export async function fullBacklog(): Promise<StuckListener> {
  const words = new Int32Array(new SharedArrayBuffer(8))
  const worker = new Worker(new URL('stuck-listener.ts', import.meta.url), { workerData: words.buffer })
  const release = () => {
    Atomics.store(words, 0, 1)
    Atomics.notify(words, 0)
  }
  onTestFinished(async () => {
    release()
    await worker.terminate()
  })
  await Atomics.waitAsync(words, 1, 0).value
  const port = Atomics.load(words, 1)
  const url = `http://127.0.0.1:${port}`
  const seen = async () => (await fetch(`${url}/seen`)).json()

  // The backlog is 1 and Linux takes one more; what comes after gets no answer to its SYN.
  for (let taken = 0; taken < 2; taken += 1) {
    const filler = connect(port, '127.0.0.1')
    filler.on('error', () => {})
    onTestFinished(() => void filler.destroy())
    await once(filler, 'connect')
  }
  return { url, release, seen }
}
