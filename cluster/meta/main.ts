/**
 * The meta server as a process: `metaproxy meta --config FILE`. Node's runtime, ZooKeeper, health
 * pages. A lost session or leader lock ends it with exit code 1; its supervisor starts it again.
 */
import { connectZooKeeper } from '../coordinator/zookeeper.ts'
import { runServer } from '../runtime/process.ts'
import { metaConfigSchema } from './config.ts'
import { metaConfigProblems, startMetaServer } from './server.ts'

/** Resolves to the exit code. */
export function main(words: readonly string[]): Promise<number> {
  return runServer({
    name: 'meta',
    schema: metaConfigSchema,
    words,
    health: (config) => config.http,
    logLevel: (config) => config.log,
    problems: metaConfigProblems,
    start: async ({ config, runtime, metrics }) => {
      const { servers, sessionTimeout, user, password } = config.zookeeper
      const coordinator = connectZooKeeper(runtime, {
        servers,
        sessionTimeoutMs: sessionTimeout,
        onExpiry: 'end',
        maxPending: 10_000,
        ...(user === undefined || password === undefined ? {} : { auth: { user, password } }),
      })
      const server = await startMetaServer({ runtime, coordinator, config, metrics })
      return {
        unreadyReason: server.unreadyReason,
        drain: async () => {
          await server.drain()
          await coordinator.close()
        },
      }
    },
  })
}
