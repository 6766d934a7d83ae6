/**
 * The entry of a gateway process: a worker, or the process that the command line is meant for. Each
 * loads its own part only: a worker needs neither the admin server nor a ZooKeeper client.
 */
import cluster from 'node:cluster'

/** The `metaproxy gateway` command: resolves to the exit code. */
export async function main(words: readonly string[]): Promise<number> {
  if (cluster.isWorker) return (await import('./processes/worker.ts')).runWorker()
  return (await import('./command.ts')).gatewayCommand(words)
}
