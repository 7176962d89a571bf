import { expect, onTestFinished } from 'vitest'

/** Whether a process of ours is there; one that has ended and was not yet reaped counts as there. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Kills a process that this one started, at once, and waits until it is gone. */
export async function killed(pid: number): Promise<void> {
  process.kill(pid, 'SIGKILL')
  await expect.poll(() => isAlive(pid), { interval: 2 }).toBe(false)
}

/** Stops a process that this one started in its tracks; the answer lets it go on, as the end of the test does. */
export function freeze(pid: number): () => void {
  process.kill(pid, 'SIGSTOP')
  let frozen = true
  const thaw = () => {
    if (frozen && isAlive(pid)) process.kill(pid, 'SIGCONT')
    frozen = false
  }
  onTestFinished(thaw)
  return thaw
}
