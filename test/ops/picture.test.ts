/** Needs Chromium (Debian: apt-get install chromium); CHROMIUM names another than /usr/bin/chromium. */
import { chromium } from 'playwright-core'
import { expect, test } from 'vitest'
import { draw } from '../../scripts/picture/draw.ts'
import { record } from '../../scripts/picture/record.ts'

test('the picture can be recorded, and a browser plays it from the command to the end', async () => {
  const recording = await record()
  const browser = await chromium.launch({
    executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu'],
  })
  try {
    const page = await browser.newPage({ viewport: { width: 800, height: 700 } })
    await page.setContent(draw(recording))
    /** What is to be seen at a time of the picture. */
    const seenAt = (ms: number) =>
      page.locator('svg').evaluate((svg, time) => {
        const seen: string[] = []
        for (const animation of svg.getAnimations({ subtree: true })) {
          animation.pause()
          animation.currentTime = time
        }
        for (const e of svg.querySelectorAll('text'))
          if (e.computedStyleMap().get('opacity')?.toString() === '1') seen.push(e.textContent)
        return seen.join(' ')
      }, ms)
    const [first, second] = recording.attempts.map(({ replica }) => `from ${replica}`)
    const atFirst = await seenAt(1)
    expect(atFirst).toContain('tgi-pool replicas')
    expect(atFirst).not.toContain(first)
    const killed = recording.output.find(({ text }) => text.startsWith('kill -9'))
    const between = await seenAt((killed?.at ?? 0) + 1)
    expect(between).toContain(first)
    expect(between).not.toContain(second)
    const atLast = await seenAt((recording.output.at(-1)?.at ?? 0) + 1)
    expect(atLast).toContain(second)
    expect(atLast.replaceAll(/\s+/g, '')).toContain(recording.answer.replaceAll(/\s+/g, ''))
    const isInside = await page.locator('svg').evaluate((svg) => {
      const edge = svg.getBoundingClientRect()
      return [...svg.querySelectorAll('text')].every((e) => {
        const box = e.getBoundingClientRect()
        return box.right <= edge.right && box.bottom <= edge.bottom
      })
    })
    expect(isInside).toBe(true)
  } finally {
    await browser.close()
  }
})
