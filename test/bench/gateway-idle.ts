/**
 * Memory: of a worker that has nothing to do, and of connections that say nothing. Resident memory as
 * the kernel counts it, of the one process that serves the clients.
 */
import type { GatewayStand } from './gateway-stand.ts'
import { type BenchRow, processTree, residentMb } from './measure.ts'

const GOAL_WORKER_MB = 80
const GOAL_CONNECTION_KB = 8
const GOAL_CONNECTED_MB = 160
const GOAL_CONNECTIONS = 10_000
/** Until memory has settled. */
const SETTLE_MS = 2000

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, SETTLE_MS))

export async function measureIdle(stand: GatewayStand, count: number): Promise<BenchRow[]> {
  const { port, child } = await stand.startGateway('idle', { workers: '2' })
  const [primary = 0, ...workers] = processTree(child.pid ?? 0)
  await settled()
  const memory = (): number[] => workers.map((pid) => residentOf(pid))
  const before = memory()
  await stand.startIdleClients(port, count)
  await settled()
  const after = memory()
  // The workers share the connections evenly; what one of them would need alone is added up.
  const grownMb = sum(after) - sum(before)
  const aloneMb = Math.max(...before) + grownMb
  const rows: BenchRow[] = [
    {
      name: 'worker with no load',
      value: Math.max(...before),
      unit: 'MB resident',
      goal: GOAL_WORKER_MB,
      lowerIsBetter: true,
      notes: `primary ${residentOf(primary).toFixed(0)} MB`,
    },
    {
      name: 'idle connection',
      value: (grownMb * 1000) / count,
      unit: 'KB resident',
      goal: GOAL_CONNECTION_KB,
      lowerIsBetter: true,
    },
  ]
  if (count >= GOAL_CONNECTIONS)
    rows.push({
      name: `${count} idle connections, one worker`,
      value: aloneMb,
      unit: 'MB resident',
      goal: GOAL_CONNECTED_MB,
      lowerIsBetter: true,
    })
  return rows
}

function residentOf(pid: number): number {
  return residentMb([pid], false)
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
