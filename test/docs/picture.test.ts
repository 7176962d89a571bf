import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { draw } from '../../scripts/picture/draw.ts'
import type { Output, Recording } from '../../scripts/picture/record.ts'
import { readPage } from './markdown.ts'

const readRecording = async () =>
  JSON.parse(await readFile(new URL('../../docs/demo.json', import.meta.url), 'utf8')) as Recording

/** The names of an SVG's open elements at each tag; throws where a tag closes another than the last. */
function checkNesting(svg: string): void {
  const open: string[] = []
  for (const [, closes, name = '', isEmpty] of svg.matchAll(/<(\/?)([a-z]+)\b[^<>]*?(\/?)>/g)) {
    if (closes === '/') expect(open.pop()).toBe(name)
    else if (isEmpty === '') open.push(name)
  }
  expect(open).toEqual([])
}

test('the picture is drawn from its recording, is well-formed and small, and has a text for who cannot see it', async () => {
  const svg = await readPage('docs/demo.svg')
  expect(draw(await readRecording())).toBe(svg)
  checkNesting(svg)
  expect(svg.replaceAll(/<\/?[a-z]+\b[^<>]*>/g, '')).not.toMatch(/[<>]|&(?!amp;|lt;|gt;)/)
  expect(svg.length).toBeLessThan(200_000)
  expect(svg).toMatch(/<title id="t">\S.*<\/title>\n<desc id="d">\S.*<\/desc>/)
  expect(await readPage('README.md')).toMatch(/!\[[^\]]{40,}\]\(docs\/demo\.svg\)/)
})

test('the recording shows one answer of two attempts, and a kill between them', async () => {
  const { output, answer, attempts } = await readRecording()
  const textOf = (...kinds: readonly Output['kind'][]) =>
    output
      .filter(({ kind }) => kinds.includes(kind))
      .map(({ text }) => text)
      .join('')
  expect(textOf('attempt-1', 'attempt-2').trim()).toBe(answer.trim())
  expect(textOf('attempt-1')).not.toBe('')
  expect(textOf('attempt-2')).not.toBe('')
  const [first, second] = attempts
  expect(new Set([first?.replica, second?.replica])).toEqual(new Set(['gpu-1', 'gpu-2']))
  const killed = output.findIndex(({ text }) => text.startsWith('kill -9 '))
  const lastOfFirst = output.findLastIndex(({ kind }) => kind === 'attempt-1')
  const firstOfSecond = output.findIndex(({ kind }) => kind === 'attempt-2')
  expect(killed).toBeGreaterThan(0)
  expect(killed).toBeLessThan(firstOfSecond)
  expect(lastOfFirst).toBeLessThan(firstOfSecond)
  expect(output[killed]?.at).toBeLessThan(second?.at ?? 0)
})

test('draws every character of a terminal, and no markup of its own', () => {
  const typed: Output = { at: 0, terminal: 'operator', kind: 'typed', text: 'echo "<b>&"' }
  const printed: Output = { at: 5, terminal: 'operator', kind: 'printed', text: `a  b\n${'x'.repeat(200)}\n` }
  const svg = draw({ output: [typed, printed], answer: '', attempts: [] })
  expect(svg).toContain('>echo "&lt;b&gt;&amp;"</text>')
  expect(svg).toContain('>a  b</text>')
  expect(svg).toContain('x …</text>')
  checkNesting(svg)
})
