/**
 * A part of `bench:admin`. Question: another tool changes mappings without end; does the history keep up,
 * and does what waits stay small? Expectation: each change is a watch, three reads and its share of a
 * transaction of up to a hundred tables, some 0.3 ms of the gateway's CPU, so between two and three
 * thousand a second; goal is a thousand. ZooKeeper is the embedded one, in this process, where the other
 * tool is too.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmbeddedZooKeeper } from '../../cluster/coordinator/embedded/server.ts'
import { connectZooKeeper } from '../../cluster/coordinator/zookeeper.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { PENDING_MAX, changeTables, createTables, tableName } from './admin-tables.ts'
import type { BenchRow } from './measure.ts'
import { cpuSeconds } from './measure.ts'
import { LineProgram, stop } from './programs.ts'

const TABLES = 2000
const PER_SECOND = 1500

export async function stormRow(ms: number): Promise<BenchRow> {
  const runtime = nodeRuntime({ log: silentLog })
  const dataDirectory = mkdtempSync(join(tmpdir(), 'bench-admin-'))
  const at = { host: '127.0.0.1', port: 0, dataDirectory }
  const server = await startEmbeddedZooKeeper(runtime, at)
  const servers = `127.0.0.1:${server.port}`
  const tool = connectZooKeeper(runtime, {
    servers,
    sessionTimeoutMs: 60_000,
    onExpiry: 'renew',
    maxPending: PENDING_MAX,
  })
  await createTables(tool, TABLES)
  const target = new LineProgram(['admin-target', String(TABLES), servers])
  const address = await target.line()
  const { pid = 0 } = target.child
  const waiting = async (): Promise<number> => {
    target.tell('waiting')
    return Number(await target.line())
  }
  const cpuBefore = cpuSeconds([pid])
  const startedMs = performance.now()
  const load = { tables: TABLES, perSecond: PER_SECOND, ms }
  const changing = changeTables(tool, load)
  let waitingMax = 0
  while (performance.now() < startedMs + ms) {
    waitingMax = Math.max(waitingMax, await waiting())
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const changes = await changing
  const pause = () => new Promise((resolve) => setTimeout(resolve, 10))
  while (!(await hasSeen(address, changes)) || (await waiting()) > 0) await pause()
  const seconds = (performance.now() - startedMs) / 1000
  const cpu = cpuSeconds([pid]) - cpuBefore
  let recorded = 0
  for (let look = 0; recorded !== changes && look < 20; look++) {
    await pause()
    recorded = await recordedVersions(address)
  }
  await stop(target.child)
  await tool.close()
  await server.close()
  rmSync(dataDirectory, { recursive: true, force: true })
  return {
    name: `changes by another tool, ${PER_SECOND} a second, in history and audit`,
    // Not one may be missing.
    value: recorded === changes ? changes / seconds : 0,
    unit: 'changes/s',
    goal: 1000,
    notes: `${recorded} of ${changes} recorded; ${Math.round(changes / cpu)} per CPU-second; at most ${waitingMax} waited`,
  }
}

/** The gateway's mirror has the last change. */
async function hasSeen(address: string, changes: number): Promise<boolean> {
  const name = tableName((changes - 1) % TABLES)
  const response = await fetch(`http://${address}/api/v1/tables/${name}`)
  return (await response.text()).includes(`"change ${changes - 1}"`)
}

async function recordedVersions(address: string): Promise<number> {
  const response = await fetch(`http://${address}/api/v1/audit:export?source=external`)
  let versions = 0
  for (const line of (await response.text()).trim().split('\n'))
    versions += (JSON.parse(line) as { readonly versions?: number }).versions ?? 1
  return versions
}
