import { z } from 'zod'
import type { Fault } from './faults.ts'
import { faultSchema } from './faults.ts'
import type { InfoChange } from './info.ts'
import { infoSchema } from './info.ts'
import type { SimulatorState } from './ledger.ts'

/** What can be done to a running simulator, in process and over HTTP alike. */
export interface Controls {
  state(): SimulatorState
  addFault(fault: Fault): void
  /** Requests already struck stay struck. */
  clearFaults(): void
  setHealthy(isHealthy: boolean): void
  /** Changes what `/info` says, and nothing else. */
  setInfo(info: InfoChange): void
}

const clearSchema = z.strictObject({ clear: z.literal(true) })
const healthSchema = z.strictObject({ healthy: z.boolean() })
const partialInfoSchema = infoSchema.partial()

/**
 * Obeys the body of one `POST /simulator/…`: `faults` takes a fault or `{"clear":true}`, `health` takes
 * `{"healthy":false}`, `info` takes fields of `/info`. Answers `undefined` when done, else what is wrong with the body.
 */
export function obey(controls: Controls, path: string, body: unknown): string | undefined {
  if (path === '/simulator/faults') {
    if (clearSchema.safeParse(body).success) {
      controls.clearFaults()
      return undefined
    }
    const fault = faultSchema.safeParse(body)
    if (!fault.success) return z.prettifyError(fault.error)
    controls.addFault(fault.data)
    return undefined
  }
  if (path === '/simulator/health') {
    const health = healthSchema.safeParse(body)
    if (!health.success) return z.prettifyError(health.error)
    controls.setHealthy(health.data.healthy)
    return undefined
  }
  const info = partialInfoSchema.safeParse(body)
  if (!info.success) return z.prettifyError(info.error)
  controls.setInfo(info.data)
  return undefined
}
