/** JSON, or undefined where it is none. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // The engine's message quotes the text: it goes nowhere.
    return undefined
  }
}
