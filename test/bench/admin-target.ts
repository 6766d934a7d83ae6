/**
 * The measured side of `bench:admin`: the admin port on memory coordination with many tables, in a
 * process of its own. Says its address, and ends with its parent; for every line that it is told it
 * says how long its event loop stood still at most since the last one, in milliseconds.
 *
 *   node admin-target.js TABLES
 */
import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { MemoryCoordination } from '../../cluster/coordinator/memory.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { startAdmin } from '../../gateway/admin/server.ts'
import { tableView } from '../../gateway/table-view.ts'
import { root, testConfig } from '../support/gateway-world.ts'

/** CPU time of this thread so far: a busy machine makes no stall longer. */
const cpuMs = (): number =>
  Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6
let lastMs = cpuMs()
let longestMs = 0
setInterval(() => {
  const nowMs = cpuMs()
  longestMs = Math.max(longestMs, nowMs - lastMs)
  lastMs = nowMs
}, 1)
const delays = monitorEventLoopDelay({ resolution: 1 })
delays.enable()
// Keeps the process alive too: timers of the runtime do not.
process.stdin
  .on('end', () => process.exit(0))
  .on('data', () => {
    process.stdout.write(`${longestMs} ${delays.max / 1e6}\n`)
    longestMs = 0
    delays.reset()
  })

const tables = Number(process.argv[2] ?? '10000')
const runtime = nodeRuntime({ log: silentLog })
const memory = new MemoryCoordination(runtime, { latencyMs: { min: 0, max: 0.01 } })
const coordinator = memory.connect(runtime, { sessionTimeoutMs: 60_000, onExpiry: 'renew' })
await coordinator.create('/metaproxy', Buffer.alloc(0))
await coordinator.create(root, Buffer.alloc(0))

/** As a fleet of forty clusters might have them. */
async function fill(): Promise<void> {
  for (let at = 0; at < tables; at += 200)
    await Promise.all(
      Array.from({ length: Math.min(200, tables - at) }, (_, offset) => {
        const index = at + offset
        const cluster = `cluster-${index % 40}`
        const metas = [1, 2, 3].map((host) => `meta-${index % 40}-${host}.example:34601`)
        const value = {
          cluster,
          'meta-addrs': metas,
          cluster_name: cluster,
          meta_addrs: metas.join(','),
          ...(index % 3 === 0 ? { group: `group-${index % 25}` } : {}),
        }
        const name = `app${index % 7}_table_${String(index).padStart(5, '0')}`
        return coordinator.create(`${root}/${name}`, Buffer.from(JSON.stringify(value)))
      }),
    )
}

await fill()
const admin = await startAdmin({
  config: testConfig(),
  runtime,
  coordinator,
  pages: {},
  effective: () => [],
  tableView: async (table) => tableView(table, undefined, []),
  answer: async () => undefined,
  probed: () => undefined,
  redirects: { redirects: new Map(), onRedirects: () => () => undefined },
})
await admin.services.mirror.loaded()
process.stdout.write(`${admin.address}\n`)
