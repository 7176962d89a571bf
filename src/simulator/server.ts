import type { Server } from 'node:http'
import { createServer } from 'node:http'
import type { Socket } from 'node:net'
import { listen } from '../http/listen.ts'
import type { Controls } from './control.ts'
import { changeInfo } from './info.ts'
import type { SimulatorOptions } from './options.ts'
import type { Replica } from './replica.ts'
import { createReplica } from './replica.ts'
import { setCommonHeaders } from './respond.ts'
import { createRouter } from './routes.ts'

/** A running simulator. */
export interface Simulator extends Controls {
  /** `http://<host>:<port>`, without a slash at its end. */
  readonly url: string
  readonly port: number
  /** Closes every socket and the port; resolves when nothing is left. May be called again. */
  stop(): Promise<void>
}

/**
 * Starts a look-alike of one TGI 3.3.7 replica over real HTTP/1.1 and resolves when it listens. It is exact about what a client
 * can see on the routes it has, and generates text that is a function of the prompt (see `createModel`). It differs, on
 * purpose, in saying that it is a simulator: header `x-simulator` on every answer, `router` and `docker_label` in `/info`.
 *
 * It differs for want of a GPU in that requests are prefilled independently, and for want of memory in that a stream whose client
 * does not read is generated 4 MiB ahead at most (with `tokensPerSecond: 0`, as far as the socket takes it).
 *
 * Errors: `CONFIG` when an option is out of range or the port cannot be had.
 */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const replica = createReplica(options)
  const sockets = new Set<Socket>()
  const controls = createControls(replica, sockets)
  const server = createHttpServer(replica, controls, sockets)
  const { host: address, port: wanted } = replica.settings
  const port = await listen(server, {
    host: address,
    port: wanted,
    portSetting: '--port',
    hostSetting: '--host',
  })
  const host = replica.settings.host.includes(':') ? `[${replica.settings.host}]` : replica.settings.host
  let stopped: Promise<void> | undefined
  return {
    ...controls,
    url: `http://${host}:${port}`,
    port,
    stop() {
      stopped ??= new Promise((resolve) => {
        replica.engine.stop()
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      })
      return stopped
    },
  }
}

function createControls(replica: Replica, sockets: ReadonlySet<Socket>): Controls {
  const { engine, faults, ledger } = replica
  return {
    state: () => ({
      ...ledger.state(),
      running: engine.running,
      queued: engine.queued,
      permits_in_use: engine.permitsInUse,
      open_sockets: sockets.size,
    }),
    addFault: (fault) => faults.add(fault),
    clearFaults: () => faults.clear(),
    setHealthy(isHealthy) {
      replica.isHealthy = isHealthy
    },
    setInfo(info) {
      replica.info = changeInfo(replica.info, info)
    },
  }
}

function createHttpServer(replica: Replica, controls: Controls, sockets: Set<Socket>): Server {
  const route = createRouter(replica, controls)
  // No timeouts: TGI configures none either.
  const server = createServer({ noDelay: true, keepAliveTimeout: 0, headersTimeout: 0, requestTimeout: 0 })
  server.on('connection', (socket) => {
    if (replica.faults.take(['refuse']).size > 0) {
      socket.resetAndDestroy()
      return
    }
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    // A half-close is a full one, as in hyper 1.6.0, which TGI stands on.
    socket.on('end', () => socket.destroy())
  })
  server.on('request', (request, response) => {
    const receivedAtMs = replica.settings.clock.now()
    const path = (request.url ?? '/').split('?', 1)[0] ?? '/'
    setCommonHeaders(response)
    const failed = (): void => {
      response.destroy()
    }
    Promise.resolve(route({ request, response, path, receivedAtMs })).catch(failed)
  })
  return server
}
