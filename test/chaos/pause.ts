import { setTimeout as sleep } from 'node:timers/promises'

/** Waits, and keeps no process alive for it: a run that is interrupted does not wait for its faults. */
export function pause(ms: number): Promise<void> {
  return sleep(ms, undefined, { ref: false })
}
