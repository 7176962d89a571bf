import { readFile, readdir } from 'node:fs/promises'
import { expect, test } from 'vitest'

/** Floors from the door to the ground: a room may import rooms on floors below it, never its own floor or above. */
const FLOORS = [
  ['workers', 'index.ts'],
  ['cli'],
  ['demo'],
  ['gateway', 'doctor', 'batch'],
  ['worker', 'client', 'simulator', 'metrics'],
  ['attempt'],
  ['pool', 'queue', 'replica', 'tgi', 'stream'],
  ['redis', 'http'],
  ['runtime'],
  ['contract'],
] as const

const floorOf = new Map(
  FLOORS.flatMap((rooms, floor) => rooms.map((room): [string, number] => [room, floor])),
)

async function sources(): Promise<string[]> {
  const root = new URL('..', import.meta.url)
  const inSrc = await readdir(new URL('src', root), { recursive: true })
  const inWorkers = await readdir(new URL('workers', root))
  return [...inSrc.map((file) => `src/${file}`), ...inWorkers.map((file) => `workers/${file}`)].filter(
    (file) => file.endsWith('.ts'),
  )
}

/** The room of a file: its folder under src, or the file itself at the top. */
function roomOf(path: string): string {
  const parts = path.split('/')
  return parts[0] === 'src' ? (parts[1] ?? '') : (parts[0] ?? '')
}

test('rooms import only downwards', async () => {
  const wrong: string[] = []
  for (const file of await sources()) {
    const text = await readFile(new URL(`../${file}`, import.meta.url), 'utf8')
    for (const [, target = ''] of text.matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)) {
      const path = new URL(target, `file:///${file}`).pathname.slice(1)
      const from = floorOf.get(roomOf(file))
      const to = floorOf.get(roomOf(path))
      if (from === undefined || to === undefined)
        wrong.push(`${file}: ${target}: a room that stands on no floor`)
      else if (roomOf(file) !== roomOf(path) && to <= from) wrong.push(`${file} imports ${path}`)
    }
  }
  expect(wrong).toEqual([])
})

test('only the queue room imports bullmq', async () => {
  const users: string[] = []
  for (const file of await sources()) {
    const text = await readFile(new URL(`../${file}`, import.meta.url), 'utf8')
    if (/from 'bullmq'/.test(text)) users.push(roomOf(file))
  }
  expect(new Set(users)).toEqual(new Set(['queue']))
})
