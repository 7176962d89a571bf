/** Longer words are not compared, because the cost grows with the product of both lengths. */
const MAX_LENGTH = 40

/** The candidate closest to a misspelt word; undefined if none is close. Short words must be closer. */
export function closest(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > MAX_LENGTH) return undefined
  let bound = word.length < 4 ? 0 : word.length < 7 ? 1 : 2
  let best: string | undefined
  for (const candidate of candidates) {
    if (candidate.length > MAX_LENGTH || Math.abs(candidate.length - word.length) > bound) continue
    const distance = distanceOf(word, candidate)
    if (distance > bound) continue
    best = candidate
    // The next candidate must be closer than this one.
    bound = distance - 1
  }
  return best
}

/** How many characters must be inserted, removed, replaced or swapped with their neighbour (optimal string alignment). */
function distanceOf(left: string, right: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: right.length + 1 }, (_, column) => column)
  for (let row = 1; row <= left.length; row += 1) {
    const current = [row]
    for (let column = 1; column <= right.length; column += 1) {
      const cost = left[row - 1] === right[column - 1] ? 0 : 1
      const swapped =
        row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1]
      current[column] = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + cost,
        swapped ? (beforeLast[column - 2] ?? 0) + 1 : Infinity,
      )
    }
    beforeLast = last
    last = current
  }
  return last[right.length] ?? 0
}
