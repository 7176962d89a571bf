import type { Scope } from '../http/key-lines.ts'

/** Who sent a request: a bearer key or, on a gateway without keys, an address. */
export interface Caller {
  /** Identifies a key, or is the client's address; never logged. */
  readonly id: string
  /** For logs and limits: the name of the key (bearer-keys.ts), or the client's address. Keys with the same name are one caller. */
  readonly name: string
  /** Whether it has a scope. Without keys, everyone has all scopes. */
  may(scope: Scope): boolean
  /** Computes an HMAC of a text with the caller's key; absent without keys. */
  readonly sign?: (text: string) => string
}
