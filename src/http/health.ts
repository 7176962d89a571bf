import type { Hono } from 'hono'
import type { HttpEnv } from './serve.ts'

/** Whether a process can do its work now, and if not, why. */
export interface Readiness {
  readonly ready: boolean
  /** One line, no secret. */
  readonly reason?: string | undefined
}

const PROBES: ReadonlySet<string> = new Set(['/livez', '/readyz'])

/** Whether a request's path is that of a probe. These reveal only whether the process works; balancers send any Host, or none. */
export function isProbe(url: string): boolean {
  return PROBES.has(url.replace(/\/?(?:\?.*)?$/s, ''))
}

/**
 * Adds `/livez` (the process answers: 200) and `/readyz` (200 when it can do its work, else 503 with the reason), as
 * Kubernetes probes ask for them.
 */
export function addHealth(app: Hono<HttpEnv>, readiness: () => Readiness | Promise<Readiness>): void {
  app.get('/livez', (context) => context.json({ status: 'ok' }))
  app.get('/readyz', async (context) => {
    const { ready, reason } = await readiness()
    return ready
      ? context.json({ status: 'ready' })
      : context.json({ status: 'not ready', ...(reason === undefined ? {} : { reason }) }, 503)
  })
}
