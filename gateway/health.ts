/**
 * The pages that probes and Prometheus ask for (gateway.md 12, O-2 and O-3), whatever port they are
 * on: the admin port, and the `health` listener when it is configured. A loss of ZooKeeper leaves a
 * gateway ready, or one outage would take the whole fleet out of service; the body then says
 * `degraded` and why.
 */
import { type HttpRoute, plain } from '../cluster/runtime/http.ts'
import { metricsPage } from '../cluster/runtime/open-metrics.ts'

export interface Health {
  /** Why clients should not be sent here; undefined when they may. */
  readonly unreadyReason: () => string | undefined
  /** It serves, but not as it should; reasons in words. */
  readonly degradedReasons: () => readonly string[]
}

/** By path; the admin server and the health listener both serve them. */
export type HealthPages = Readonly<Record<string, HttpRoute>>

export function healthPages(health: Health, metricsText: () => Promise<string>): HealthPages {
  let hasStarted = false
  /** Once ready means started, for ever. */
  const look = (): string | undefined => {
    const unready = health.unreadyReason()
    if (unready === undefined) hasStarted = true
    return unready
  }
  return {
    '/healthz': async () => plain(200, 'ok'),
    '/startupz': async () => {
      const unready = look()
      return hasStarted ? plain(200, 'started') : plain(503, unready ?? 'starting')
    },
    '/readyz': async () => {
      const unready = look()
      if (unready !== undefined) return plain(503, unready)
      const degraded = health.degradedReasons()
      return plain(200, degraded.length === 0 ? 'ready' : `degraded: ${degraded.join('; ')}`)
    },
    '/metrics': async (_query, _method, _body, accept) => ({
      status: 200,
      ...metricsPage(await metricsText(), accept),
    }),
  }
}
