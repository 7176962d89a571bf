import type { Server } from 'node:http'
import { PoolError } from '../contract/error.ts'

/** Where a server listens, and which settings change that. */
export interface ListenAddress {
  readonly host: string
  /** 0 picks a free one. */
  readonly port: number
  /** The flag or variable of the port, e.g. `--port or TGI_POOL_GATEWAY_PORT`. */
  readonly portSetting: string
  /** The same for the host. */
  readonly hostSetting: string
}

/**
 * Binds a server to an address.
 *
 * @returns the port.
 * @throws {@link PoolError} `CONFIG` with the address, the reason and what to do next.
 */
export async function listen(server: Server, address: ListenAddress): Promise<number> {
  const { host, port } = address
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const where = `${host.includes(':') ? `[${host}]` : host}:${port}`
      reject(new PoolError('CONFIG', `cannot listen on ${where}: ${explain(cause, address)}`, { cause }))
    })
    server.listen(port, host, resolve)
  })
  const bound = server.address()
  return typeof bound === 'object' && bound !== null ? bound.port : port
}

function explain({ code = 'unknown error' }: NodeJS.ErrnoException, address: ListenAddress): string {
  const { port, portSetting, hostSetting } = address
  switch (code) {
    case 'EADDRINUSE':
      return `the port is in use (${code}); choose another with ${portSetting} (0 picks a free one), or stop the process that uses it`
    case 'EACCES':
      return port < 1024
        ? `ports below 1024 need a privilege that this process lacks (${code}); choose a higher one with ${portSetting}`
        : `the system does not allow it (${code}); choose another port with ${portSetting}`
    case 'EADDRNOTAVAIL':
      return `no interface of this machine has the address (${code}); choose another with ${hostSetting}`
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the host name has no address (${code}); choose another with ${hostSetting}`
    case 'EAFNOSUPPORT':
      return `this machine does not support that kind of address (${code}); choose another with ${hostSetting}`
    default:
      return `${code}; choose another address with ${portSetting} and ${hostSetting}`
  }
}
