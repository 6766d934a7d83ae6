/** The process of a replica server: `metaproxy replica --config FILE`. */
import { gpidText } from '../protocol/base.ts'
import type { HttpAnswer } from '../runtime/http.ts'
import { runServer } from '../runtime/process.ts'
import { openRocksDb } from '../storage/rocksdb.ts'
import { type ReplicaConfig, replicaConfig, replicaConfigProblems } from './config.ts'
import type { ReplicaDriver } from './driver.ts'
import { startReplicaServer } from './server.ts'

/** Distance of the health port to the RPC port, when none is configured. */
const HTTP_PORT_DISTANCE = 1000

/** Role, ballot and decrees of every open replica. */
function json(drivers: readonly ReplicaDriver[]): HttpAnswer {
  const views = drivers.map((driver) => {
    const { gpid, info, ...rest } = driver.view()
    const { durableDecree } = driver.store
    return { gpid: gpidText(gpid), table: info.appName, ...rest, durable: durableDecree }
  })
  const body = `${JSON.stringify(views, undefined, 2)}\n`
  return { status: 200, contentType: 'application/json; charset=utf-8', body }
}

/** Resolves to the exit code when the server has ended. */
export function main(words: readonly string[]): Promise<number> {
  return runServer({
    name: 'replica',
    schema: replicaConfig,
    words,
    logLevel: (config) => config.log,
    problems: replicaConfigProblems,
    health: ({ http, rpc }: ReplicaConfig) => ({
      host: http.host,
      port: http.port === 0 && rpc.port > 0 ? rpc.port + HTTP_PORT_DISTANCE : http.port,
    }),
    start: async ({ config, runtime, metrics }) => {
      const server = await startReplicaServer({
        runtime,
        config,
        metrics,
        openEngine: () =>
          openRocksDb({
            path: `${config.dataDirectory}/engine`,
            cacheBytes: config.engine.cacheBytes,
            writeBufferBytes: config.engine.writeBufferBytes,
          }),
      })
      return {
        unreadyReason: server.unreadyReason,
        degradedReasons: () =>
          config.mutationLog.sync === 'os'
            ? ['the mutation log is not synced: a power cut loses acknowledged writes']
            : [],
        routes: { '/replica/progress': async () => json(server.node.drivers()) },
        drain: server.close,
      }
    },
  })
}
