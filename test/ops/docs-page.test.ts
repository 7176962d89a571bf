/** Needs Chromium (Debian: apt-get install chromium); CHROMIUM names another than /usr/bin/chromium. */
import { chromium } from 'playwright-core'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, onTestFinished } from 'vitest'
import { OPERATIONS } from '../gateway/operations.ts'
import { test } from '../gateway/stage.ts'

const HEIGHT = 800
let browser: Browser

beforeAll(async () => {
  browser = await chromium.launch({
    executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking'],
  })
})

afterAll(() => browser?.close())

/** A page that reports what it may not do, and everything that it asks for. */
async function open(url: string): Promise<{ page: Page; faults: string[]; asked: string[] }> {
  const context = await browser.newContext({ viewport: { width: 1280, height: HEIGHT } })
  onTestFinished(() => context.close())
  const page = await context.newPage()
  const faults: string[] = []
  const asked: string[] = []
  page.on('pageerror', (error) => faults.push(String(error)))
  page.on('console', (message) => faults.push(message.text()))
  page.on('request', (request) => asked.push(request.url()))
  await page.goto(url)
  return { page, faults, asked }
}

function isOnScreen(box: { readonly y: number; readonly height: number } | null): boolean {
  return box !== null && box.y >= 0 && box.y + box.height <= HEIGHT
}

describe('in a browser', () => {
  test('/docs needs nothing but itself, and its policy forbids nothing that it does', async ({ gateway }) => {
    const { url } = await gateway()
    const { page, faults, asked } = await open(`${url}/docs`)
    // The style sheet is the one that the policy has the hash of.
    expect(await page.evaluate<string>('getComputedStyle(document.body).display')).toBe('grid')
    expect(asked).toEqual([`${url}/docs`])
    expect(faults).toEqual([])
  })

  test('/docs leads from its contents to each operation, and unfolds schemas', async ({ gateway }) => {
    const { url } = await gateway()
    const { page } = await open(`${url}/docs`)
    const contents = page.getByRole('navigation', { name: 'Contents' })
    for (const { method, path } of OPERATIONS) {
      await contents.getByRole('link', { name: `${method} ${path}`, exact: true }).click()
      const heading = page.locator('section:target h3')
      expect(await heading.innerText()).toBe(`${method} ${path}`)
      // The last section may be too short to reach the top.
      await expect.poll(async () => isOnScreen(await heading.boundingBox())).toBe(true)
      expect(await contents.isVisible()).toBe(true)
    }
    const schema = page.locator('#JobRequest > details')
    expect(await schema.locator('pre').isVisible()).toBe(false)
    await schema.locator('> summary').click()
    expect(await schema.locator('pre').isVisible()).toBe(true)
  })

  test('/ leads to /docs', async ({ gateway }) => {
    const { url } = await gateway()
    const { page, faults, asked } = await open(`${url}/`)
    await page.getByRole('link', { name: '/docs' }).click()
    await expect.poll(() => page.url()).toBe(`${url}/docs`)
    expect(asked.filter((address) => new URL(address).origin !== url)).toEqual([])
    expect(faults).toEqual([])
  })
})
