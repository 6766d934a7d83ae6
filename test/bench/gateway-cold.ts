/**
 * Tables that the gateway does not know yet: each query costs a read with a watch in the real
 * ZooKeeper. What the ZooKeeper client costs is taken as the difference between the CPU of the pass
 * in which every table is cold and that of the same queries once more, when all are known. Latency
 * stands beside that of the same reads without a gateway: most of it is ZooKeeper's.
 */
import type { ChildProcess } from 'node:child_process'
import type { GatewayStand } from './gateway-stand.ts'
import { type BenchRow, cpuSeconds } from './measure.ts'

const GOAL_PER_CPU_SECOND = 2500
const GOAL_P99_MS = 25
const connections = 64

/** `tables` are mapped; `warmUp` too, and used to have the code compiled. */
export async function measureCold(
  stand: GatewayStand,
  tables: readonly string[],
  warmUp: readonly string[],
): Promise<BenchRow[]> {
  const { port, child } = await stand.startGateway('cold', { 'routing.cache': '20000' })
  const pass = async (asked: readonly string[]): Promise<{ cpu: number; p99Ms: number }> => {
    const load = { port, connections, pipeline: 1, seconds: 0, tables: asked, once: true }
    const result = await stand.measure(load, child.pid)
    if (result.errors > 0) throw new Error(`${result.errors} errors among ${asked.length} tables`)
    return result
  }
  for (let time = 0; time < 3; time++) await pass(warmUp)
  await idle(child)
  const aloneMs = await stand.readP99Ms(tables, connections)
  const cold = await pass(tables)
  const known = await pass(tables)
  const name = `${tables.length} cold tables, ${connections} connections`
  return [
    {
      name: `${name}: ZooKeeper client`,
      value: tables.length / (cold.cpu - known.cpu),
      unit: 'tables per CPU-second',
      goal: GOAL_PER_CPU_SECOND,
      notes: `${cold.cpu.toFixed(2)} CPU-s cold, ${known.cpu.toFixed(2)} known`,
    },
    {
      name: `${name}: p99`,
      value: cold.p99Ms,
      unit: 'ms',
      goal: GOAL_P99_MS,
      lowerIsBetter: true,
      notes: `ZooKeeper alone ${aloneMs.toFixed(1)} ms`,
    },
  ]
}

/** A new gateway reads all mappings for its admin API: not what is measured. */
async function idle({ pid = 0 }: ChildProcess): Promise<void> {
  for (let before = cpuSeconds([pid]); ;) {
    await new Promise((resolve) => setTimeout(resolve, 500))
    const now = cpuSeconds([pid])
    if (now - before < 0.05) return
    before = now
  }
}
