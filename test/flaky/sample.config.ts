import { defineConfig } from 'vitest/config'

/** The suite of one file that the test of `npm run flaky` has it run. */
export default defineConfig({
  test: { root: new URL('../..', import.meta.url).pathname, include: ['test/flaky/sample.ts'] },
})
