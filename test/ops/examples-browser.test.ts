/** Needs Chromium (Debian: apt-get install chromium); CHROMIUM names another than /usr/bin/chromium. */
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { runDocument } from '../examples/document.ts'
import { textOfOnlyJob } from '../examples/only-job.ts'
import { test as base } from '../examples/stage.ts'
import type { Examples, GatewayProcess } from '../examples/stage.ts'

/** The page, open in a browser, and the gateway that it talks to. */
interface Open {
  readonly page: Page
  readonly gateway: GatewayProcess
  /** Sends the prompt and waits until text comes. */
  ask(): Promise<void>
  /** Waits until the answer holds this many words. */
  words(atLeast: number): Promise<void>
  readonly answer: () => Promise<string>
  readonly status: () => Promise<string>
}

const PATIENCE = 30_000
let browser: Browser

beforeAll(async () => {
  browser = await chromium.launch({
    executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
})

afterAll(() => browser?.close())

const test = base.extend('open', async ({ examples }, { onCleanup }): Promise<Open> => {
  const { origin, folder, close } = await serveFolder(join(examples.dir, 'examples/browser'))
  const gateway = await examples.gateway({ corsOrigins: origin })
  await pointAt(folder, gateway.url, examples.pool)
  const context = await browser.newContext()
  onCleanup(async () => {
    await context.close()
    await close()
  })
  const page = await context.newPage()
  const faults: string[] = []
  page.on('pageerror', (error) => faults.push(String(error)))
  await page.goto(origin)
  const textOf = (id: string) => async () => (await page.locator(id).textContent()) ?? ''
  const answer = textOf('#answer')
  const words = (atLeast: number) =>
    expect
      .poll(async () => (await answer()).trim().split(/\s+/).length, { timeout: PATIENCE })
      .toBeGreaterThanOrEqual(atLeast)
  return {
    page,
    gateway,
    answer,
    status: textOf('#status'),
    words,
    async ask() {
      await page.locator('#send').click()
      await words(5)
      expect(faults).toEqual([])
    },
  }
})

/** Serves a folder as any static server does. */
async function serveFolder(folder: string) {
  const types = { html: 'text/html; charset=utf-8', js: 'text/javascript' } as const
  const server = createServer((request, response) => {
    const name = request.url === '/' ? 'index.html' : (request.url ?? '').slice(1)
    readFile(join(folder, name)).then(
      (bytes) => {
        response.setHeader('Content-Type', name.endsWith('.js') ? types.js : types.html)
        response.end(bytes)
      },
      () => response.writeHead(404).end(),
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const close = async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    server.closeAllConnections()
    await closed
  }
  return { origin, folder, close }
}

/** Writes the test's gateway and pool where a user would write theirs. */
async function pointAt(folder: string, gateway: string, pool: string): Promise<void> {
  for (const name of ['index.html', 'follow.js']) {
    const path = join(folder, name)
    const text = await readFile(path, 'utf8')
    expect(text).toContain('http://127.0.0.1:8700')
    const pointed = text
      .replaceAll('http://127.0.0.1:8700', gateway)
      .replace(`POOL = 'p'`, `POOL = '${pool}'`)
    await writeFile(path, pointed)
  }
}

/** What the page must show in the end. */
async function expectWhole(examples: Examples, { answer, status }: Open): Promise<void> {
  await expect.poll(status, { timeout: PATIENCE }).toBe('end')
  expect(await answer()).toBe(await textOfOnlyJob(examples))
}

describe('examples/browser', () => {
  test('shows an answer as it comes, across gateways that die, without hole or repeat', async ({
    examples,
    open,
  }) => {
    const replica = await examples.serve({ tokensPerSecond: 25 })
    await open.ask()
    for (const [signal, words] of [
      ['SIGKILL', 10],
      ['SIGTERM', 40],
    ] as const) {
      await open.words(words)
      await open.gateway.kill(signal)
      await expect.poll(open.status, { timeout: PATIENCE }).toBe('reconnecting')
      await open.gateway.again()
      await open.words(words + 10)
    }
    await expectWhole(examples, open)
    expect(replica.seen.requests.map(({ outcome }) => outcome)).toEqual(['finished'])
  })

  test('goes on after a reload with the text that it had', async ({ examples, open }) => {
    await examples.serve({ tokensPerSecond: 25 })
    await open.ask()
    await open.words(20)
    // Nothing but what the page has kept can be shown before the gateway is back.
    await open.gateway.kill()
    const before = await open.answer()
    await open.page.reload()
    expect(await open.answer()).toBe(before)
    await open.gateway.again()
    await expectWhole(examples, open)
    await open.page.reload()
    await expectWhole(examples, open)
  })

  test('opens another EventSource after an answer that ends it', async ({ examples, open }) => {
    await examples.serve({ tokensPerSecond: 25 })
    await open.ask()
    await open.gateway.kill()
    let refused = 0
    const busy = createServer((request, response) => {
      refused += request.headers.accept === 'text/event-stream' ? 1 : 0
      response.writeHead(503, { 'Access-Control-Allow-Origin': '*' }).end('{"error":{"retriable":true}}')
    })
    const { port } = new URL(open.gateway.url)
    await new Promise<void>((resolve) => busy.listen(Number(port), '127.0.0.1', resolve))
    await expect.poll(() => refused, { timeout: PATIENCE }).toBeGreaterThanOrEqual(2)
    busy.closeAllConnections()
    await new Promise((resolve) => busy.close(resolve))
    await open.gateway.again()
    await expectWhole(examples, open)
  })

  test('the Stop button cancels, and the replica is freed', async ({ examples, open }) => {
    const replica = await examples.serve({ tokensPerSecond: 10 })
    await open.ask()
    await open.page.locator('#stop').click()
    await expect.poll(open.status).toBe('CANCELLED: the reader has seen enough')
    await expect.poll(() => replica.seen.requests.map(({ outcome }) => outcome)).toEqual(['aborted'])
    expect(await open.page.locator('#stop').isDisabled()).toBe(true)
    await open.page.reload()
    expect(await open.status()).toBe('CANCELLED: the reader has seen enough')
  })

  test('says what was refused, and shows text as text', async ({ examples, open }) => {
    await open.page.locator('#send').click()
    await expect.poll(open.status).toContain('POOL_UNAVAILABLE')
    const code = await readFile(join(examples.dir, 'examples/browser/follow.js'), 'utf8')
    expect(code).not.toMatch(/innerHTML|outerHTML|insertAdjacent|document\.write/)
  })

  base('every command of its README does what it says', async ({ stage }) => {
    const { url: redisUrl } = await stage.redis()
    expect(await runDocument('examples/browser/README.md', { dir: stage.dir, redisUrl })).not.toHaveLength(0)
  })
})
