import { defineConfig } from 'vitest/config'
import config, { LONG } from './vitest.config.ts'

/** What waits for failovers, for locks by the dozen, or for pools to be started anew: minutes, mostly of waiting. */
export default defineConfig({ test: { ...config.test, include: [...LONG], exclude: [] } })
