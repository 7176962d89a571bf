import { defineConfig } from 'vitest/config'

/** Tests that need programs which no npm package brings. What is missing fails them. */
export default defineConfig({
  test: {
    root: new URL('../..', import.meta.url).pathname,
    include: ['test/ops/**/*.test.ts'],
    globalSetup: new URL('../support/versions.ts', import.meta.url).pathname,
    // Builds and installs take minutes (run.ts gives a program 280 s).
    testTimeout: 300_000,
    hookTimeout: 300_000,
    pool: 'forks',
    maxWorkers: 1,
    expect: { poll: { timeout: 30_000 } },
    reporters: ['default'],
  },
})
