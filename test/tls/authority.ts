import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { isIP } from 'node:net'

/** A certificate and its key, as PEM. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

/** A certificate authority that lives as long as a test. */
export interface Authority {
  /** Its own certificate, as PEM: who trusts it trusts what it signs. */
  readonly cert: string
  /** Signs a certificate for a host name or address, valid from yesterday until `daysLeft` days from now. */
  issue(host: string, daysLeft?: number): Certificate
}

/**
 * Makes an authority. The certificates are written by hand (X.509 v3, RFC 5280) because node:crypto cannot, and the
 * `openssl` command is not on every machine and has its own mind about certificates that have expired.
 */
export function createAuthority(name: string): Authority {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const build = (subject: string, key: KeyObject, daysLeft: number, extension: Buffer) =>
    toPem('CERTIFICATE', certificate({ issuer: name, signer: privateKey, subject, key, daysLeft, extension }))
  return {
    cert: build(name, publicKey, 2, AUTHORITY),
    issue(host, daysLeft = 2) {
      const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      return {
        cert: build('a server', pair.publicKey, daysLeft, validFor(host)),
        key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      }
    },
  }
}

const DAY_MS = 86_400_000

interface Contents {
  readonly issuer: string
  readonly signer: KeyObject
  readonly subject: string
  readonly key: KeyObject
  readonly daysLeft: number
  readonly extension: Buffer
}

function certificate({ issuer, signer, subject, key, daysLeft, extension }: Contents): Buffer {
  const until = Date.now() + daysLeft * DAY_MS
  const body = sequence(
    tagged(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    sequence(ECDSA_SHA256),
    distinguishedName(issuer),
    sequence(utcTime(until - 3 * DAY_MS), utcTime(until)),
    distinguishedName(subject),
    key.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(extension)),
  )
  return sequence(body, sequence(ECDSA_SHA256), bitString(sign('sha256', body, signer)))
}

// DER: a tag, a length, the contents.
function tagged(tag: number, ...contents: Buffer[]): Buffer {
  const body = Buffer.concat(contents)
  const { length } = body
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255]
  return Buffer.concat([Buffer.from([tag, ...size]), body])
}

const sequence = (...contents: Buffer[]) => tagged(0x30, ...contents)
const integer = (bytes: Buffer) => tagged(0x02, bytes)
const bitString = (bytes: Buffer) => tagged(0x03, Buffer.from([0]), bytes)
const octets = (bytes: Buffer) => tagged(0x04, bytes)
const objectId = (hex: string) => tagged(0x06, Buffer.from(hex, 'hex'))

/** 1.2.840.10045.4.3.2 */
const ECDSA_SHA256 = objectId('2a8648ce3d040302')

/** One common name (2.5.4.3). */
function distinguishedName(name: string): Buffer {
  return sequence(tagged(0x31, sequence(objectId('550403'), tagged(0x0c, Buffer.from(name)))))
}

/** YYMMDDhhmmssZ */
function utcTime(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replaceAll(/[-:T]/g, '').slice(2, 14)
  return tagged(0x17, Buffer.from(`${digits}Z`))
}

/** Basic constraints (2.5.29.19), critical: an authority. */
const AUTHORITY = sequence(
  objectId('551d13'),
  tagged(0x01, Buffer.from([255])),
  octets(sequence(tagged(0x01, Buffer.from([255])))),
)

/** Subject alternative name (2.5.29.17): a DNS name or an IPv4 address. */
function validFor(host: string): Buffer {
  const address = Buffer.from(host.split('.').map(Number))
  const name = isIP(host) === 4 ? tagged(0x87, address) : tagged(0x82, Buffer.from(host))
  return sequence(objectId('551d11'), octets(sequence(name)))
}

function toPem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
