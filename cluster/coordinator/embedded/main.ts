/**
 * The embedded ZooKeeper server as a process of its own: its options, start, and drain on SIGTERM.
 */
import { defineConfig, integer, section, size, text } from '../../runtime/config.ts'
import { lockFolder } from '../../runtime/folder-lock.ts'
import { runServer } from '../../runtime/process.ts'
import { startEmbeddedZooKeeper } from './server.ts'
import { makeDurableDirectory } from './transaction-log.ts'

export const embeddedZooKeeperConfig = defineConfig('Embedded ZooKeeper server, one node', {
  host: text({ about: 'Address to listen on', default: '127.0.0.1' }),
  port: integer({ about: 'Port, 0 for a free one', default: 2181, min: 0, max: 65_535 }),
  dataDirectory: text({ about: 'Folder of log and snapshots' }),
  sessions: section('Session times that are granted', {
    timeoutMsMin: integer({
      about: 'Shortest session time',
      unit: 'milliseconds',
      default: 2000,
      min: 100,
      max: 60_000,
    }),
    timeoutMsMax: integer({
      about: 'Longest session time',
      unit: 'milliseconds',
      default: 60_000,
      min: 2000,
      max: 3_600_000,
    }),
  }),
  connectionsMax: integer({ about: 'Client connections', default: 1000, min: 1, max: 100_000 }),
  snapshotLogSize: size({
    about: 'Size of the log at which a snapshot is taken',
    default: 16 * 1024 * 1024,
    min: 4096,
    max: 1024 * 1024 * 1024,
  }),
})

/** `words`: the command line behind the command. Resolves to the exit code. */
export function main(words: readonly string[]): Promise<number> {
  return runServer({
    name: 'zookeeper',
    schema: embeddedZooKeeperConfig,
    words,
    health: () => undefined,
    problems: ({ sessions: { timeoutMsMin, timeoutMsMax } }) =>
      timeoutMsMin <= timeoutMsMax
        ? []
        : [`sessions.timeoutMsMin ${timeoutMsMin}: above sessions.timeoutMsMax ${timeoutMsMax}`],
    start: async ({ config, runtime }) => {
      await makeDurableDirectory(runtime.files, config.dataDirectory)
      const unlock = await lockFolder(config.dataDirectory)
      const server = await startEmbeddedZooKeeper(runtime, {
        host: config.host,
        port: config.port,
        dataDirectory: config.dataDirectory,
        sessionTimeoutMsMin: config.sessions.timeoutMsMin,
        sessionTimeoutMsMax: config.sessions.timeoutMsMax,
        connectionsMax: config.connectionsMax,
        snapshotLogBytes: config.snapshotLogSize,
      })
      return { drain: () => server.close().then(unlock) }
    },
  })
}
