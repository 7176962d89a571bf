/**
 * A worker thread with an HTTP server that listens and does not accept: connections to it stay half made once its
 * backlog is full. It goes on when word 0 of the shared memory is set; word 1 tells its port. `GET /seen` answers with
 * the authorization headers of all generations that got through.
 */
import { createServer } from 'node:http'
import { workerData } from 'node:worker_threads'

const memory: unknown = workerData
if (!(memory instanceof SharedArrayBuffer)) throw new Error('expected shared memory')
const words = new Int32Array(memory)
const seen: string[] = []

const server = createServer((request, response) => {
  response.setHeader('connection', 'close')
  if (request.url === '/seen') {
    response.end(JSON.stringify(seen))
    return
  }
  seen.push(request.headers.authorization ?? '')
  request.resume()
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.end(
    'data: {"token":{"id":1,"text":"late","logprob":0,"special":false},"generated_text":"late",' +
      '"details":{"finish_reason":"length","generated_tokens":1}}\n\n',
  )
})
server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
  const address = server.address()
  Atomics.store(words, 1, typeof address === 'object' && address !== null ? address.port : -1)
  Atomics.notify(words, 1)
  // Blocks the thread, so its loop accepts nobody; the kernel goes on listening.
  Atomics.wait(words, 0, 0)
})
