import { defineConfig } from 'vitest/config'

/** Suites that `npm run test:long` runs: they would take more time than `npm test` has. */
export const LONG = [
  'test/acl/processes.test.ts',
  'test/acl/rights-everywhere.test.ts',
  'test/bench/bench.test.ts',
  'test/chaos/chaos.test.ts',
  'test/cli/cancel.test.ts',
  'test/cli/delete-pool.test.ts',
  'test/cli/batch.test.ts',
  'test/cli/demo.test.ts',
  'test/cli/doctor.test.ts',
  'test/cli/drain.test.ts',
  'test/cli/enqueue.test.ts',
  'test/cli/events.test.ts',
  'test/cli/generate.test.ts',
  'test/cli/operate.test.ts',
  'test/cli/redis-faults.test.ts',
  'test/cli/results.test.ts',
  'test/cli/terminal.test.ts',
  'test/cli/usage.test.ts',
  'test/cluster/**/*.test.ts',
  'test/doctor/pools.test.ts',
  'test/doctor/redis.test.ts',
  'test/doctor/replicas.test.ts',
  'test/examples/node.test.ts',
  'test/failover/**/*.test.ts',
  'test/flaky/flaky.test.ts',
  'test/flood/**/*.test.ts',
  'test/fuzz/fuzz.test.ts',
  'test/gateway/broken-pools.test.ts',
  'test/gateway/cli.test.ts',
  'test/http/late-body.test.ts',
  'test/metrics/verb.test.ts',
  'test/process/**/*.test.ts',
  'test/queue/foreign-fields.test.ts',
  'test/stream/mutations.test.ts',
  'test/tls/**/*.test.ts',
  'test/worker/health.test.ts',
  'test/worker/poison*.test.ts',
  'test/worker/prefill-health.test.ts',
  'test/worker/sick-replica.test.ts',
  'test/worker/stop-without-redis.test.ts',
]

export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['test/**/*.test.ts'],
    // What needs more than Node and Redis: npm run test:ops.
    exclude: ['test/ops/**', ...LONG],
    globalSetup: new URL('support/versions.ts', import.meta.url).pathname,
    // No test comes near them beside two busy loops; what hangs is seen before long.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Processes that tests start compile a hundred modules each otherwise, half of the time that they take to start.
    env: { NODE_COMPILE_CACHE: new URL('../node_modules/.cache/test-processes', import.meta.url).pathname },
    pool: 'forks',
    // Twice the two processors: most tests wait for locks, leases and processes.
    maxWorkers: 4,
    // Above what starting a process takes on a machine that does other things, too.
    expect: { poll: { timeout: 50_000 } },
    reporters: ['default'],
  },
})
