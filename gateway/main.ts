/**
 * `metaproxy gateway`: one process, or a primary with workers (`processes/workers.ts`), with the common life
 * of a server process around it. The admin port is served by the process itself, or by the primary.
 */
import type { Coordinator } from '../cluster/coordinator/coordinator.ts'
import { type HttpServer, serveHttp } from '../cluster/runtime/http.ts'
import { type RunningServer, type ServerContext, runServer } from '../cluster/runtime/process.ts'
import { exposureProblems } from './admin/exposure.ts'
import { type AdminServer, startAdmin } from './admin/server.ts'
import { type GatewayConfig, gatewayConfig } from './config.ts'
import { startGateway } from './gateway.ts'
import { gatewayFacts } from './gateway-facts.ts'
import { translateGoProxyConfig } from './go-proxy-config.ts'
import { type Health, type HealthPages, healthPages } from './health.ts'
import { tagLabels } from './metrics.ts'
import { controlRootOf } from './routing/control-nodes.ts'
import { joinFleet } from './routing/fleet-member.ts'
import { isWorker, reportHealth, startWorkers } from './processes/workers.ts'
import { tlsProblems } from './tls-options.ts'
import { connectControl, connectData, nodeAccess, zooKeeperProblems } from './zookeeper-sessions.ts'

type Context = ServerContext<GatewayConfig>

/** The `metaproxy gateway` command: resolves to the exit code. */
export function main(words: readonly string[]): Promise<number> {
  return runServer({
    name: 'gateway',
    schema: gatewayConfig,
    translate: translateGoProxyConfig,
    words,
    // The admin server has health and metrics on its own port.
    health: () => undefined,
    logLevel: (config) => config.log.level,
    problems: (config) => [
      ...zooKeeperProblems(config.zookeeper),
      ...tlsProblems(config.tls),
      ...exposureProblems(config.http, false),
    ],
    start: (context) => {
      context.metrics.setLabels(tagLabels(context.config.metric.tags))
      if (isWorker()) return startWorker(context)
      if (nodeAccess(context.config.zookeeper).isImplied)
        context.log.warn('ZooKeeper nodes made here are open to everyone', {
          help: 'set zookeeper.user and zookeeper.password, or zookeeper.acl: open',
        })
      return context.config.workers > 1 ? startPrimary(context) : startSingle(context)
    },
  })
}

/** The ports of people, probes and Prometheus; closed in one go. */
interface Ports {
  readonly admin: AdminServer
  readonly close: () => Promise<void>
}

async function openPorts(
  { config, log, runtime, effective }: Context,
  control: Coordinator,
  health: Health,
  metricsText: () => Promise<string>,
): Promise<Ports> {
  const pages = healthPages(health, metricsText)
  const listener = await openHealth(config, pages)
  try {
    const admin = await startAdmin({
      config,
      runtime,
      coordinator: control,
      pages,
      effective,
    })
    const at = listener === undefined ? undefined : `${listener.host}:${listener.port}`
    log.info('admin port open', { http: admin.address, health: at })
    return {
      admin,
      close: async () => {
        await admin.close()
        await listener?.close()
      },
    }
  } catch (error) {
    await listener?.close()
    throw error
  }
}

async function openHealth(
  { health: { host, port } }: GatewayConfig,
  routes: HealthPages,
): Promise<HttpServer | undefined> {
  return port === undefined ? undefined : serveHttp({ host, port, routes })
}

async function startSingle(context: Context): Promise<RunningServer> {
  const { runtime, config, metrics, log } = context
  const coordinator = connectData(runtime, config.zookeeper)
  const control = connectControl(runtime, config.zookeeper)
  const gateway = await startGateway({ runtime, coordinator, config, metrics })
  let ports: Ports
  try {
    ports = await openPorts(context, control, gateway, () => metrics.text())
  } catch (error) {
    await gateway.close()
    await Promise.all([coordinator.close(), control.close()])
    throw error
  }
  log.info('gateway listens', { rpc: `${gateway.host}:${gateway.port}`, http: ports.admin.address })
  const facts = gatewayFacts({ runtime, config, rpc: gateway, http: ports.admin.address })
  ports.admin.identify(facts.id)
  let isDraining = false
  const member = joinFleet({
    runtime,
    data: coordinator,
    control,
    controlRoot: controlRootOf(config.zookeeper),
    directory: gateway.directory,
    facts,
    connectionCount: () => gateway.server.connectionCount,
    isDraining: () => isDraining,
  })
  return {
    drain: async () => {
      isDraining = true
      member.update()
      await gateway.close(config.drainMs)
      await member.close()
      await ports.close()
      await Promise.all([coordinator.close(), control.close()])
    },
  }
}

async function startWorker(context: Context): Promise<RunningServer> {
  const { runtime, config, metrics } = context
  const coordinator = connectData(runtime, config.zookeeper)
  const gateway = await startGateway({ runtime, coordinator, config, metrics })
  const stopReporting = reportHealth(runtime.timers, gateway, () => metrics.text())
  return {
    drain: async () => {
      await gateway.close(config.drainMs)
      stopReporting()
      await coordinator.close()
    },
  }
}

async function startPrimary(context: Context): Promise<RunningServer> {
  const { runtime, config, metrics, log } = context
  const control = connectControl(runtime, config.zookeeper)
  const workers = startWorkers({ count: config.workers, runtime, metrics })
  let ports: Ports
  try {
    ports = await openPorts(context, control, workers, async () =>
      workers.mergeMetrics(await metrics.text()),
    )
  } catch (error) {
    await workers.drain()
    await control.close()
    throw error
  }
  log.info('gateway listens', { http: ports.admin.address, workers: config.workers })
  return {
    drain: async () => {
      await workers.drain()
      await ports.close()
      await control.close()
    },
  }
}
