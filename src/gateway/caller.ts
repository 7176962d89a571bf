import type { Scope } from '../http/key-lines.ts'

/** Who sent a request: a bearer key or, on a gateway without keys, an address. */
export interface Caller {
  /** Tells a key from every other one, or is the client's address; never logged. */
  readonly id: string
  /** For logs and bounds: the name of the key (bearer-keys.ts), or the client's address. Keys of one name are one caller. */
  readonly name: string
  /** Whether it may do what needs a scope. Without keys, everybody may. */
  may(scope: Scope): boolean
  /** Makes something of a text that nobody without the key can; absent without keys. */
  readonly sign?: (text: string) => string
}
