/** The process of a replica server: `metaproxy replica --config FILE`. */
import { runServer } from '../runtime/process.ts'
import { openRocksDb } from '../storage/rocksdb.ts'
import { type ReplicaConfig, replicaConfig, replicaConfigProblems } from './config.ts'
import { startReplicaServer } from './server.ts'

/** Distance of the health port to the RPC port, when none is configured. */
const HTTP_PORT_DISTANCE = 1000

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
      return { unreadyReason: server.unreadyReason, drain: server.close }
    },
  })
}
