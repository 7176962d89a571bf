import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../../src/redis/server.ts'
import type { RedisServer } from '../../src/redis/server.ts'
import type { Stage } from '../cli/stage.ts'
import { createAuthority } from './authority.ts'
import type { Authority, Certificate } from './authority.ts'
import { startTlsProxy } from './tls-proxy.ts'
import type { TlsProxy } from './tls-proxy.ts'

/** An authority and the environment of a process that trusts it. */
export interface Trust {
  readonly authority: Authority
  readonly env: { readonly NODE_EXTRA_CA_CERTS: string }
}

/** What can be wrong with a server's certificate, and how we say it: Redis's line, a replica's line. */
export const BAD_CERTIFICATES = [
  [
    'of an authority nobody knows',
    'stranger',
    /self-signed certificate|unable to verify/,
    /SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_VERIFY_LEAF_SIGNATURE/,
  ],
  ['for another host', 'other host', /altnames/, /ERR_TLS_CERT_ALTNAME_INVALID/],
  ['that has expired', 'expired', /certificate has expired/, /CERT_HAS_EXPIRED/],
] as const

/** Which kind of a bad certificate. */
export type Badness = (typeof BAD_CERTIFICATES)[number][1]

/** Makes an authority that processes started with `env` trust. */
export async function createTrust(stage: Stage): Promise<Trust> {
  const authority = createAuthority('tgi-pool test authority')
  const file = join(stage.dir, 'ca.pem')
  await writeFile(file, authority.cert)
  return { authority, env: { NODE_EXTRA_CA_CERTS: file } }
}

/** A certificate for 127.0.0.1 that must not be accepted. */
export function badCertificate({ authority }: Trust, kind: Badness): Certificate {
  switch (kind) {
    case 'stranger':
      return createAuthority('a stranger').issue('127.0.0.1')
    case 'other host':
      return authority.issue('elsewhere.example')
    case 'expired':
      return authority.issue('127.0.0.1', -1)
  }
}

/** A TLS proxy in front of a port, gone after the test. */
export async function tlsProxy(stage: Stage, target: number, certificate: Certificate): Promise<TlsProxy> {
  const proxy = await startTlsProxy(target, certificate)
  stage.afterwards(() => proxy.close())
  return proxy
}

/** A real Redis that speaks TLS, too. */
export async function tlsRedis(
  stage: Stage,
  { cert, key }: Certificate,
): Promise<{ server: RedisServer; url: string }> {
  const [certFile, keyFile] = [join(stage.dir, 'redis.pem'), join(stage.dir, 'redis.key')]
  await writeFile(certFile, cert)
  await writeFile(keyFile, key, { mode: 0o600 })
  const port = await freePort()
  const tls = ['--tls-port', String(port), '--tls-auth-clients', 'no']
  const files = ['--tls-cert-file', certFile, '--tls-key-file', keyFile, '--tls-ca-cert-file', certFile]
  const server = await stage.redis({ args: [...tls, ...files] })
  return { server, url: `rediss://127.0.0.1:${port}` }
}
