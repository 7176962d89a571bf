import { expect, test } from 'vitest'
import { createGrowingBuffer } from '../../src/gateway/growing-buffer.ts'

const MIB = 2 ** 20

test('a body is what came, in whatever pieces', () => {
  const text = 'aé漢🦙'.repeat(2000)
  const body = createGrowingBuffer(100_000)
  for (const byte of Buffer.from(text)) body.add(Buffer.from([byte]))
  expect(body.bytes().toString()).toBe(text)
  body.release()
})

test('a body may have as many bytes as it may, and not one more', () => {
  const body = createGrowingBuffer(10_000)
  body.add(Buffer.alloc(10_000))
  expect(body.bytes().length).toBe(10_000)
  expect(() => body.add(Buffer.alloc(1))).toThrow(expect.objectContaining({ kind: 'TOO_LARGE' }))
  body.release()
})

test('bodies have a bound together, small ones are taken above it, and room that is released is free', () => {
  const large = Buffer.alloc(2 * MIB)
  const bodies = Array.from({ length: 100 }, () => createGrowingBuffer(3 * MIB))
  const taken = bodies.filter((body) => {
    try {
      body.add(large)
      return true
    } catch (error) {
      expect(error).toMatchObject({ kind: 'OVERLOADED', status: 503, retriable: true })
      return false
    }
  })
  expect(taken.length).toBe(32)
  const small = createGrowingBuffer(3 * MIB)
  small.add(Buffer.alloc(4096))
  expect(() => small.add(large)).toThrow('its limit; retry later')

  taken[0]?.release()
  taken[0]?.release()
  small.add(large)
  expect(small.bytes().length).toBe(2 * MIB + 4096)
  for (const body of [small, ...bodies]) body.release()
})
