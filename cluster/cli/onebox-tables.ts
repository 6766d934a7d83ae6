/**
 * Gives a fresh onebox its tables: created on the first cluster, mapped in the gateway through its
 * admin API, and waited for through the gateway, which is what a client will do next. What exists
 * already stays as it is, a mapping that somebody moved included.
 */
import { AdminClient, PegasusError } from '../client/client.ts'
import type { OneboxPlan, TableWish } from './onebox-plan.ts'

const pollMs = 150

export interface TablesToProvide {
  readonly plan: OneboxPlan
  readonly tables: readonly TableWish[]
  readonly copies: number
  readonly signal: AbortSignal
}

/** Resolves when the gateway answers for every table and all replicas are there. */
export async function provideTables({
  plan,
  tables,
  copies,
  signal,
}: TablesToProvide): Promise<void> {
  const [cluster] = plan.clusters
  if (cluster === undefined) throw new Error('a onebox has at least one cluster')
  const admin = new AdminClient({ metaServers: cluster.metas })
  const throughGateway = new AdminClient({ metaServers: [plan.gateway] })
  try {
    await retry(signal, async () => enoughNodes(admin, copies))
    const existing = new Set((await admin.listTables({ signal })).map((table) => table.name))
    for (const { name, partitionCount } of tables) {
      if (!existing.has(name))
        await retry(signal, async () =>
          admin.createTable(name, { partitionCount, replicaCount: copies, signal }),
        )
      await retry(signal, async () => mapTable(plan.admin, name, cluster))
    }
    for (const { name } of tables)
      await retry(signal, async () => throughGateway.waitForTable(name, { signal }))
  } finally {
    admin.close()
    throughGateway.close()
  }
}

async function enoughNodes(admin: AdminClient, copies: number): Promise<void> {
  const alive = (await admin.listNodes({ timeoutMs: 2000 })).filter((node) => node.alive)
  if (alive.length < copies)
    throw new Error(`${alive.length} of at least ${copies} replica servers are alive`)
}

/** Adds the mapping unless there is one. */
async function mapTable(
  adminAddress: string,
  name: string,
  cluster: { readonly name: string; readonly metas: readonly string[] },
): Promise<void> {
  const response = await fetch(`http://${adminAddress}/api/v1/tables/${encodeURIComponent(name)}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json', 'if-none-match': '*' },
    body: JSON.stringify({ cluster: cluster.name, metas: cluster.metas }),
    signal: AbortSignal.timeout(5000),
  })
  const text = await response.text()
  const existsAlready = response.status === 412
  if (!response.ok && !existsAlready) throw new Error(`mapping ${name}: ${response.status} ${text}`)
}

/** Again until it works or `signal` ends it; then with the last failure as the reason. */
async function retry<T>(signal: AbortSignal, act: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await act()
    } catch (error) {
      if (signal.aborted) throw error
      // What no time will mend, such as a table that exists with other options.
      if (error instanceof PegasusError && error.code === 'ERR_INVALID_PARAMETERS') throw error
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}
