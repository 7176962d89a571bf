/** The state of an input line in the file of answers: no record, answered, or failed. */
export const LINE = { open: 0, answered: 1, failed: 2 } as const

/** The state of a line. */
export type LineState = (typeof LINE)[keyof typeof LINE]

/** The states of all lines of a file, one byte per line. */
export class LineStates {
  private bytes = new Uint8Array(1024)

  get(line: number): LineState {
    return (this.bytes[line] ?? LINE.open) as LineState
  }

  set(line: number, state: LineState): void {
    if (line >= this.bytes.length) {
      const larger = new Uint8Array(Math.max(line + 1, this.bytes.length * 2))
      larger.set(this.bytes)
      this.bytes = larger
    }
    this.bytes[line] = state
  }

  /** The lines in a state, ascending. */
  *in(state: LineState): Generator<number> {
    for (let line = this.bytes.indexOf(state); line >= 0; line = this.bytes.indexOf(state, line + 1))
      yield line
  }
}
