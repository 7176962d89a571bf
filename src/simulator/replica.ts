import type { Engine } from './engine.ts'
import { createEngine } from './engine.ts'
import type { Registry } from './exposition.ts'
import type { FaultBook } from './faults.ts'
import { createFaultBook } from './faults.ts'
import type { SimulatorInfo } from './info.ts'
import { createInfo } from './info.ts'
import type { Ledger } from './ledger.ts'
import { createLedger } from './ledger.ts'
import { createMetrics } from './metrics.ts'
import type { Settings, SimulatorOptions } from './options.ts'
import { settle } from './options.ts'
import type { ValidationLimits } from './validate.ts'

/** What every route of one simulator shares. */
export interface Replica {
  readonly settings: Settings
  readonly limits: ValidationLimits
  readonly engine: Engine
  readonly ledger: Ledger
  readonly metrics: Registry
  readonly faults: FaultBook
  /** What `/info` says; may be changed at any time and changes nothing else. */
  info: SimulatorInfo
  isHealthy: boolean
  /** A generation has failed since `/health` last succeeded: the next one runs a prefill (router/src/infer/mod.rs). */
  isSuspect: boolean
}

/** A replica at rest; `CONFIG` when an option is out of range. */
export function createReplica(options: SimulatorOptions): Replica {
  const settings = settle(options)
  const limits = { ...settings, maxBestOf: 2 }
  const metrics = createMetrics(limits)
  const ledger = createLedger(settings.observer, settings.clock)
  return {
    settings,
    limits,
    metrics,
    ledger,
    engine: createEngine({ ...settings, metrics, ledger }),
    faults: createFaultBook(options.faults),
    info: createInfo(settings),
    isHealthy: true,
    isSuspect: false,
  }
}
