import { test } from '../support/redis.ts'
import { findViolation } from './property/check-modules.ts'
import { loadModules } from './property/modules.ts'

const RUNS = Number(process.env['PROPERTY_RUNS'] ?? 240)
const SEED = Number(process.env['PROPERTY_SEED'] ?? Date.now() % 2 ** 31)

test(
  `the event log keeps its promises whatever is lost, late, sent twice, cancelled or rolled back (seed ${SEED})`,
  { timeout: 120_000 + RUNS * 100 },
  async ({ redis }) => {
    const modules = await loadModules()
    const options = { modules, url: redis.url, runs: RUNS, seed: SEED, name: 'real', shrink: true }
    const violation = await findViolation(options)
    if (violation !== undefined) throw new Error(violation)
  },
)
