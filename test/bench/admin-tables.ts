/** The mappings that admin benchmarks are about, as a fleet of forty clusters might have them. */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import { root } from '../support/gateway-world.ts'

const TOGETHER = 200

export function tableName(index: number): string {
  return `app${index % 7}_table_${String(index).padStart(5, '0')}`
}

export function metasOf(index: number): readonly string[] {
  return [1, 2, 3].map((host) => `meta-${index % 40}-${host}.example:34601`)
}

/** In both forms, as the gateway writes them. */
export function mappingOf(index: number, note?: string): Buffer {
  const cluster = `cluster-${index % 40}`
  const metas = metasOf(index)
  const value = {
    cluster,
    'meta-addrs': metas,
    cluster_name: cluster,
    meta_addrs: metas.join(','),
    ...(index % 3 === 0 ? { group: `group-${index % 25}` } : {}),
    ...(note === undefined ? {} : { note }),
  }
  return Buffer.from(JSON.stringify(value))
}

export async function createTables(coordinator: Coordinator, tables: number): Promise<void> {
  await coordinator.create('/metaproxy', Buffer.alloc(0))
  await coordinator.create(root, Buffer.alloc(0))
  for (let at = 0; at < tables; at += TOGETHER)
    await Promise.all(
      Array.from({ length: Math.min(TOGETHER, tables - at) }, (_, offset) =>
        coordinator.create(`${root}/${tableName(at + offset)}`, mappingOf(at + offset)),
      ),
    )
}

/** Of sessions that change tables at a pace: a busy machine lets them wait. */
export const PENDING_MAX = 100_000

/** So many a second, one after the other through all tables; resolves to how many there were. */
export async function changeTables(
  coordinator: Coordinator,
  load: { readonly tables: number; readonly perSecond: number; readonly ms: number },
): Promise<number> {
  const startedMs = performance.now()
  const wanted = Math.round((load.perSecond * load.ms) / 1000)
  let last: Promise<unknown> = Promise.resolve()
  for (let number = 0; number < wanted; number++) {
    const waitMs = startedMs + (number * 1000) / load.perSecond - performance.now()
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs))
    const index = number % load.tables
    const data = mappingOf(index, `change ${number}`)
    last = coordinator.set(`${root}/${tableName(index)}`, data)
  }
  // In the order of the calls.
  await last
  return wanted
}
