import type { Random } from '../chaos/random.ts'

/** One connection to the gateway and what is sent on it. */
export interface Conversation {
  /** Bytes to send, and times to wait between them (ms). */
  readonly pieces: readonly (Buffer | number)[]
  /** The methods of the requests that must each get an answer; `any`: whatever comes must be HTTP, and nothing must. */
  readonly expects: readonly string[] | 'any'
  /**
   * What the client does after the last piece: `read` waits for the answers, `abort` resets the connection, `close` ends its own
   * side and waits for the answers.
   */
  readonly ending: 'read' | 'abort' | 'close'
  /** Answers that may be event streams are left after this time (ms) when all have begun. @defaultValue read to the end */
  readonly leaveAfterMs?: number
}

/** Requests to the gateway, all at once. */
interface HttpShot {
  readonly kind: 'http'
  readonly conversations: readonly Conversation[]
  /** It opens more streams than a gateway may allow one caller, so `OVERLOADED` is a good answer. */
  readonly mayOverload?: boolean
  /** It erases jobs, so an accepted job may be gone without a terminal event. */
  readonly forgets?: boolean
}

/** Commands to Redis that put jobs where a worker finds them. */
interface JobShot {
  readonly kind: 'job'
  readonly commands: readonly (readonly [command: string, ...args: (string | Buffer)[]])[]
  /** Jobs that must end. */
  readonly jobIds: readonly string[]
  /** The jobs wait on purpose. */
  readonly isDelayed?: boolean
}

/** What is sent at once and judged as one. */
export type Shot = HttpShot | JobShot

/** What shots are drawn with. */
export interface DrawContext {
  /** The largest body that the gateway reads (bytes). */
  readonly limitBytes: number
  /** How large this one may be (bytes). */
  readonly bytes: number
  /** A key that the gateway accepts. */
  readonly bearer: string
  /** A finished job of some thousand tokens. */
  readonly knownId: string
  /** A job id that nobody has used. */
  newId(): string
}

/** Draws shots of one kind. */
export interface Generator {
  /** One line of help. */
  readonly what: string
  draw(random: Random, context: DrawContext): Shot
}

/** Stands in every prompt, key and password of a run; no process may log it and no error may repeat it. */
export const MARK = 'xylophonequartz'

/** The pool of a run. */
export const POOL = 'fuzz'
