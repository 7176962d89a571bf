/** What TGI writes on `/generate_stream`, to be changed by tests at will. */
export interface TokenShape {
  readonly id?: number | undefined
  readonly text?: string | undefined
  readonly logprob?: number | null | undefined
  readonly special?: boolean | undefined
}

/** A token event, as its JSON value. */
export function tokenFrame(index: number, token: TokenShape = {}, rest: Record<string, unknown> = {}) {
  const { id = 1000 + index, text = ` t${index}`, logprob = -0.5, special = false } = token
  return { index, token: { id, text, logprob, special }, generated_text: null, details: null, ...rest }
}

/** The last event, as its JSON value. */
export function endFrame(
  index: number,
  generatedText: string,
  token: TokenShape = {},
  details: Record<string, unknown> = {},
) {
  return tokenFrame(index, token, {
    generated_text: generatedText,
    details: { finish_reason: 'eos_token', generated_tokens: index, seed: null, input_length: 7, ...details },
  })
}

/** An error event, as its JSON value. */
export function errorFrame(type: string, error: string) {
  return { error, error_type: type }
}

/** One event on the wire, as axum 0.7 writes it. */
export function event(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`
}

/** A whole answer of `texts.length` tokens, ended by EOS on the last. */
export function answer(texts: readonly string[]): string {
  return texts
    .map((text, at) =>
      at < texts.length - 1
        ? event(tokenFrame(at + 1, { text }))
        : event(endFrame(at + 1, texts.join(''), { text })),
    )
    .join('')
}

/** The keep-alive of axum: a comment. */
export const KEEP_ALIVE = ':\n\n'
