/**
 * The measured side of `bench:admin`: the admin port in a process of its own, on memory coordination with
 * many tables, or on a ZooKeeper. Says its address, and ends with its parent. It is told, in lines:
 *
 *   stall                  it says how many milliseconds of CPU its longest turn since then took
 *   waiting                it says how many changes are not in the history yet
 *   change PER_SECOND MS   mappings change behind its back, by another session
 *
 *   node admin-target.js TABLES [SERVERS]
 */
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import { MemoryCoordination } from '../../cluster/coordinator/memory.ts'
import { connectZooKeeper } from '../../cluster/coordinator/zookeeper.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { openAdmin } from '../support/admin-world.ts'
import { until } from '../support/gateway-world.ts'
import { PENDING_MAX, changeTables, createTables } from './admin-tables.ts'

const [, , tablesText = '10000', servers] = process.argv
const tables = Number(tablesText)
const runtime = nodeRuntime({ log: silentLog })

/** CPU time of this thread so far: a busy machine makes no turn longer. */
function cpuMs(): number {
  const text = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8')
  return Number(text.split(' ')[0]) / 1e6
}

let lastMs = cpuMs()
let longestMs = 0
setInterval(() => {
  const nowMs = cpuMs()
  longestMs = Math.max(longestMs, nowMs - lastMs)
  lastMs = nowMs
}, 1)

/** The gateway's session, and one behind its back. */
async function connect(): Promise<readonly [Coordinator, Coordinator]> {
  const options = { sessionTimeoutMs: 60_000, onExpiry: 'renew', maxPending: PENDING_MAX } as const
  if (servers !== undefined) {
    const open = (): Coordinator => connectZooKeeper(runtime, { ...options, servers })
    return [open(), open()]
  }
  const memory = new MemoryCoordination(runtime, { latencyMs: { min: 0, max: 0.01 } })
  const [own, other] = [memory.connect(runtime, options), memory.connect(runtime, options)]
  await createTables(own, tables)
  return [own, other]
}

const [own, other] = await connect()
const { address, services } = await openAdmin(runtime, own)
await services.mirror.loaded()
await until(() => services.observer.isHolder)
process.stdout.write(`${address}\n`)

// Keeps the process alive too: timers of the runtime do not.
const lines = createInterface({ input: process.stdin })
lines.on('close', () => process.exit(0))
lines.on('line', (line) => {
  const [word, ...numbers] = line.split(' ')
  if (word === 'stall') {
    process.stdout.write(`${longestMs}\n`)
    longestMs = 0
  } else if (word === 'waiting') process.stdout.write(`${services.observer.waiting}\n`)
  else {
    const [perSecond = 0, ms = 0] = numbers.map(Number)
    void changeTables(other, { tables, perSecond, ms })
  }
})
