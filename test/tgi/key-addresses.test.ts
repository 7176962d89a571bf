import { expect, test } from 'vitest'
import { createKeyFor } from '../../src/tgi/key-addresses.ts'

const keyFor = createKeyFor('k', ['http://gpu-1:8080', 'https://gpu.example/a/', 'http://[::1]:80'])

test.each([
  'http://gpu-1:8080',
  'http://gpu-1:8080/',
  'http://GPU-1:8080',
  'http://user:password@gpu-1:8080',
  'https://gpu.example:443/a',
  'https://gpu.example/b/../a',
  'http://[0:0:0:0:0:0:0:1]',
])('%s may have the key', (url) => {
  expect(keyFor(url)).toBe('k')
})

test.each([
  'https://gpu-1:8080',
  'http://gpu-1:8081',
  'http://gpu-1',
  'http://gpu-1:8080.evil.example',
  'http://gpu-1:8080@evil.example',
  'http://evil.example/http://gpu-1:8080',
  'http://gpu-1:8080/a',
  'http://gpu-1.:8080',
  'https://gpu.example',
  'https://gpu.example/a/b',
  'https://gpu.example/a%2f..%2fb',
  'https://x.gpu.example/a',
  'http://evil.example\\@gpu-1:8080',
  'http://127.0.0.1:80',
  'ftp://gpu-1:8080',
  'gpu-1:8080',
  'nonsense',
  '',
])('%s may not', (url) => {
  expect(keyFor(url)).toBeUndefined()
})

test('without a list nobody may, and an address that is none is refused', () => {
  expect(createKeyFor('k', [])('http://gpu-1:8080')).toBeUndefined()
  expect(createKeyFor(undefined, ['http://gpu-1:8080'])('http://gpu-1:8080')).toBeUndefined()
  for (const address of ['gpu-1:8080', 'ftp://gpu-1', '*', ''])
    expect(() => createKeyFor('k', [address])).toThrow(/expected an http or https URL/)
})
