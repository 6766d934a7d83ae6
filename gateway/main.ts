/**
 * `metaproxy gateway`: one process, or a primary with workers (`processes/workers.ts`), with the common life
 * of a server process around it. The admin port is served by the process itself, or by the primary.
 */
import { connectZooKeeper } from '../cluster/coordinator/zookeeper.ts'
import { type RunningServer, type ServerContext, runServer } from '../cluster/runtime/process.ts'
import type { Coordinator } from '../cluster/coordinator/coordinator.ts'
import { type AdminServer, startAdmin } from './admin/server.ts'
import { type GatewayConfig, gatewayConfig } from './config.ts'
import { startGateway } from './gateway.ts'
import { isWorker, reportHealth, startWorkers } from './processes/workers.ts'

type Context = ServerContext<GatewayConfig>

/** The `metaproxy gateway` command: resolves to the exit code. */
export function main(words: readonly string[]): Promise<number> {
  return runServer({
    name: 'gateway',
    schema: gatewayConfig,
    words,
    // The admin server has health and metrics on its own port.
    health: () => undefined,
    logLevel: (config) => config.log.level,
    problems: ({ zookeeper: { user, password } }) =>
      (user === undefined) === (password === undefined)
        ? []
        : ['zookeeper.user and zookeeper.password: give both or neither'],
    start: (context) => {
      if (isWorker()) return startWorker(context)
      return context.config.workers > 1 ? startPrimary(context) : startSingle(context)
    },
  })
}

function connect({ runtime, config }: Context): Coordinator {
  const { servers, sessionTimeoutMs, user, password } = config.zookeeper
  return connectZooKeeper(runtime, {
    servers,
    sessionTimeoutMs,
    onExpiry: 'renew',
    ...(user === undefined || password === undefined ? {} : { auth: { user, password } }),
  })
}

async function startSingle(context: Context): Promise<RunningServer> {
  const { runtime, config, metrics, log } = context
  const coordinator = connect(context)
  const gateway = await startGateway({ runtime, coordinator, config, metrics })
  let admin: AdminServer
  try {
    admin = await startAdmin({
      config,
      log,
      coordinator,
      clock: runtime.clock,
      health: gateway,
      metricsText: () => metrics.text(),
    })
  } catch (error) {
    await gateway.close()
    await coordinator.close()
    throw error
  }
  log.info('gateway listens', { rpc: `${gateway.host}:${gateway.port}`, http: admin.address })
  return {
    drain: async () => {
      await gateway.close(config.drainMs)
      await admin.close()
      await coordinator.close()
    },
  }
}

async function startWorker(context: Context): Promise<RunningServer> {
  const { runtime, config, metrics } = context
  const coordinator = connect(context)
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
  const coordinator = connect(context)
  const workers = startWorkers({ count: config.workers, runtime, metrics })
  let admin: AdminServer
  try {
    admin = await startAdmin({
      config,
      log,
      coordinator,
      clock: runtime.clock,
      health: workers,
      metricsText: async () => workers.mergeMetrics(await metrics.text()),
    })
  } catch (error) {
    await workers.drain()
    await coordinator.close()
    throw error
  }
  log.info('gateway listens', { http: admin.address, workers: config.workers })
  return {
    drain: async () => {
      await workers.drain()
      await admin.close()
      await coordinator.close()
    },
  }
}
