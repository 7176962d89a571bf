import { createServer } from 'node:http'
import { describe, expect, onTestFinished, test } from 'vitest'
import { listen } from '../../src/http/listen.ts'

const SETTINGS = { portSetting: '--port or PORT', hostSetting: '--host or HOST' }

/** Binds a server that is closed after the test. */
async function bind(host: string, port: number): Promise<number> {
  const server = createServer()
  onTestFinished(() => void server.close())
  return listen(server, { host, port, ...SETTINGS })
}

/** A server whose system refuses to bind it: whether it does so depends on the machine. */
function refusing(code: string) {
  const server = createServer()
  server.listen = () => {
    queueMicrotask(() => server.emit('error', Object.assign(new Error(code), { code })))
    return server
  }
  return server
}

describe('an address that cannot be had', () => {
  test('is told with the reason and the setting of the port when the port is in use', async () => {
    const port = await bind('127.0.0.1', 0)
    await expect(bind('127.0.0.1', port)).rejects.toMatchObject({
      kind: 'CONFIG',
      message: `cannot listen on 127.0.0.1:${port}: the port is in use (EADDRINUSE); choose another with --port or PORT (0 picks a free one), or stop the process that uses it`,
    })
  })

  test('is told with the setting of the host when no interface has it', async () => {
    // TEST-NET-1 (RFC 5737) is nobody's.
    await expect(bind('192.0.2.1', 0)).rejects.toMatchObject({
      kind: 'CONFIG',
      message:
        'cannot listen on 192.0.2.1:0: no interface of this machine has the address (EADDRNOTAVAIL); choose another with --host or HOST',
    })
  })

  test('is told with the setting of the host when its name has no address', async () => {
    await expect(bind('nobody.invalid', 0)).rejects.toMatchObject({
      kind: 'CONFIG',
      message: expect.stringMatching(
        /^cannot listen on nobody\.invalid:0: the host name has no address \((?:ENOTFOUND|EAI_AGAIN)\); choose another with --host or HOST$/,
      ),
    })
  })

  test.each([
    ['EACCES', 80, '127.0.0.1', 'ports below 1024 need a privilege that this process lacks (EACCES); choose'],
    ['EACCES', 8700, '127.0.0.1', 'the system does not allow it (EACCES); choose another port with --port'],
    [
      'EAFNOSUPPORT',
      8700,
      '::1',
      'this machine does not support that kind of address (EAFNOSUPPORT); choose',
    ],
    ['EOTHER', 8700, '127.0.0.1', 'EOTHER; choose another address with --port or PORT and --host or HOST'],
  ])('is told when the system says %s for port %i of %s', async (code, port, host, said) => {
    const where = host === '::1' ? `[::1]:${port}` : `${host}:${port}`
    await expect(listen(refusing(code), { host, port, ...SETTINGS })).rejects.toMatchObject({
      kind: 'CONFIG',
      message: expect.stringContaining(`cannot listen on ${where}: ${said}`),
    })
  })
})
