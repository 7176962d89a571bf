import { createHash } from 'node:crypto'

/**
 * A set of ids that takes 16 to 32 bytes per id, whatever their length: it stores 64 bits of their SHA-256. With ten million ids, the
 * probability of any collision is three in a million.
 */
export class IdSet {
  private size = 0
  private slots = new Uint32Array(2048)

  /** Adds an id. @returns whether it was new. */
  add(id: string): boolean {
    const digest = createHash('sha256').update(id).digest()
    // A pair of zeros is an empty slot.
    const isNew = this.insert(digest.readUInt32LE(0), digest.readUInt32LE(4) || 1)
    if (isNew && this.size * 4 > this.slots.length) this.grow()
    return isNew
  }

  private insert(high: number, low: number): boolean {
    const { slots } = this
    const pairs = slots.length / 2
    for (let at = high % pairs; ; at = (at + 1) % pairs) {
      if (slots[2 * at + 1] === 0) {
        slots[2 * at] = high
        slots[2 * at + 1] = low
        this.size += 1
        return true
      }
      if (slots[2 * at] === high && slots[2 * at + 1] === low) return false
    }
  }

  private grow(): void {
    const before = this.slots
    this.slots = new Uint32Array(before.length * 2)
    this.size = 0
    for (let at = 0; at < before.length; at += 2) {
      const low = before[at + 1] ?? 0
      if (low !== 0) this.insert(before[at] ?? 0, low)
    }
  }
}
