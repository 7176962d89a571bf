import { expect, test } from 'vitest'
import { parseMemory } from '../../src/redis/memory.ts'

test.for([
  [
    'a limit',
    'used_memory:700\r\nmaxmemory:1000\r\nmaxmemory_policy:noeviction\r\n',
    { used: 700, max: 1000 },
  ],
  [
    'buffers that do not count against it',
    'used_memory:700\r\nmem_not_counted_for_evict:50\r\nmaxmemory:1000\r\nmaxmemory_policy:noeviction\r\n',
    { used: 650, max: 1000 },
  ],
  ['a limit and no word of its policy', 'used_memory:700\r\nmaxmemory:1000\r\n', { used: 700, max: 1000 }],
  ['no limit', 'used_memory:700\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n', undefined],
  [
    'a policy that evicts',
    'used_memory:700\r\nmaxmemory:1000\r\nmaxmemory_policy:allkeys-lru\r\n',
    undefined,
  ],
  ['no word of its limit', 'used_memory:700\r\nused_memory_human:1K\r\n', undefined],
  ['nothing', '', undefined],
] as const)('the memory of a server with %s', ([, info, use]) => {
  expect(parseMemory(info)).toEqual(use)
})
