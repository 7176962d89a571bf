/** Who sent a request: a bearer key or, on a gateway without keys, an address. */
export interface Caller {
  /** The name of the key (bearer-keys.ts), or the client's address. */
  readonly name: string
  /** Makes something of a text that nobody without the key can; absent without keys. */
  readonly sign?: (text: string) => string
}
