/**
 * Text that others wrote (models, replicas, producers, anyone who may write to Redis), made fit for a terminal. These characters are
 * replaced by their JSON escape, e.g. `\u001b`:
 *
 * - control characters but newline and tab, C1 (U+0080 to U+009F) included: terminals obey them, e.g. OSC 52 sets the clipboard. A
 *   carriage return or a backspace would overwrite what is on the line; CR LF becomes a newline.
 * - line and paragraph separators, and every mark, override and isolate that changes the direction of text: what is seen would not
 *   be what is there.
 * - invisible characters (Unicode's Default_Ignorable_Code_Point, interlinear annotations), e.g. the tag characters that smuggle text
 *   into what is copied.
 *
 * Zero-width space, joiner and non-joiner and the variation selectors 1 to 16 stay: Khmer, Persian and Indic scripts and emoji are
 * written with them, and a terminal does not obey them.
 *
 * Escapes of JSON, because JSON on a terminal keeps its meaning that way, and because every terminal and font can show them. Each
 * character stands for itself, so an escape sequence that comes in pieces is caught like a whole one.
 */
export const UNFIT =
  /[[\p{Cc}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\ufff9-\ufffb]--[\ufe00-\ufe0f\u200b-\u200d\t\n]]/gv
const TAB_OR_NEWLINE = /[\t\n]/g

/** A text for a terminal; newlines and tabs stay. */
export function terminalText(text: string): string {
  return text.replaceAll('\r\n', '\n').replaceAll(UNFIT, escaped)
}

/** A text that stays on its line and in its column: newlines and tabs are escaped, too. */
export function terminalLine(text: string): string {
  return text.replaceAll(UNFIT, escaped).replaceAll(TAB_OR_NEWLINE, escaped)
}

/**
 * {@link terminalText} for a text that comes in pieces. Wherever it is cut, the result is the same: a CR and half a character at the
 * end of a piece wait for the next one.
 */
export function createTerminalText(): (piece: string) => string {
  let held = ''
  return (piece) => {
    const text = held + piece
    held = /[\r\ud800-\udbff]$/.exec(text)?.[0] ?? ''
    return terminalText(text.slice(0, text.length - held.length))
  }
}

/** As JSON.stringify writes it; what that leaves alone, as one `\uXXXX` for each UTF-16 unit. */
function escaped(character: string): string {
  const json = JSON.stringify(character).slice(1, -1)
  if (json !== character) return json
  return character
    .split('')
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .join('')
}
