import { test } from '/work/main/test/support/redis.ts'
import { loadModules } from '/work/main/test/stream/property/modules.ts'
import { runSchedule } from '/work/main/test/stream/property/run-schedule.ts'
import { ensurePool } from '/work/main/src/pool/config-store.ts'
const text = `snapshot
pick_up 0 false
tokens 0 1 →2:none →0:lose_answer
roll_back 2
cancel
pick_up 0 true
nothing →10:twice_second →5:none
enqueue
tokens 1 3
tokens 10 2 →0:none
pick_up 0 true →4:none →0:none →14:lose_answer
pick_up 0 true →5:none
pick_up 1 true
nothing →5:none →1:none
read 4
enqueue →15:none →2:none
roll_back 14 →2:none →1:lose_command
tokens 4 2 →2:none →12:none →2:none`
const steps = text.split('\n').map((line) => {
  const parts = line.split(' ')
  const advance = parts.filter((p) => p.startsWith('→')).map((p) => { const [pick, fault] = p.slice(1).split(':'); return { pick: Number(pick), fault } })
  const [name, a, b] = parts.filter((p) => !p.startsWith('→'))
  const action: any = { do: name }
  if (name === 'pick_up') { action.queue = Number(a); action.goesOn = b === 'true' }
  if (name === 'tokens') { action.attempt = Number(a); action.count = Number(b) }
  if (name === 'roll_back') action.to = Number(a)
  if (name === 'read') action.from = Number(a)
  return { action, advance }
})
test('dbg', { timeout: 60000 }, async ({ redis }) => {
  const modules = await loadModules()
  const lane = { modules, redis: await redis.connect('writer'), readers: [await redis.connect('blocking'), await redis.connect('blocking')], lastReader: await redis.connect('blocking'), keys: redis.keys }
  await ensurePool(lane.redis, lane.keys)
  for (let i = 0; i < 60; i++) {
    try { await runSchedule(lane as any, `job-${i}`, { steps, finale: 'abort' } as any) } catch (e) { console.log(i, String(e)); }
  }
})
