/**
 * The routes as a file, so that a gateway that starts while ZooKeeper is away still serves
 * (gateway.md R-26). The first line is the checksum of the rest:
 *
 *     sha256:<hex>
 *     {"format": 1, "root": "/metaproxy/tables", "rootZxid": "123", "confirmedAtMs": n, "tables": [
 *       {"table", "cluster", "metas", "group"?, "stale"?, "policy", "to"?, "toMetas"?, "plan"?}, …]}
 *
 * `policy` is the staleness policy in force, `to` and `plan` the redirect. Pure.
 */
import { createHash } from 'node:crypto'
import { canonicalMetas, isTableName, parseCluster, parseJson, parseMetas } from './mapping.ts'
import { stalePolicyText } from './route-facts.ts'
import { parseStalePolicy, SERVE } from './staleness.ts'
import type { Mapped, Route } from './table-entry.ts'

export interface SavedTable {
  readonly table: string
  readonly mapped: Mapped
  /** In force. */
  readonly route: Route
}

export interface Snapshot {
  readonly root: string
  /** Which root it was. */
  readonly rootZxid: bigint | undefined
  /** Unix time at which all of it was last known to be current. */
  readonly confirmedAtMs: number
  /** The longest unused first. */
  readonly tables: readonly SavedTable[]
}

const FORMAT = 1
const SNAPSHOT_BYTES_MAX = 256 << 20

export function encodeSnapshot(snapshot: Snapshot): Buffer {
  const { root, rootZxid, confirmedAtMs, tables } = snapshot
  const text = JSON.stringify({
    format: FORMAT,
    root,
    rootZxid: rootZxid?.toString(),
    confirmedAtMs,
    tables: tables.map(({ table, mapped, route }) => ({
      table,
      cluster: mapped.cluster,
      metas: mapped.metas,
      group: mapped.tableGroup,
      stale: mapped.stale === undefined ? undefined : stalePolicyText(mapped.stale),
      policy: stalePolicyText(route.stale),
      ...(route.plan === undefined
        ? {}
        : { to: route.cluster, toMetas: route.metas, plan: route.plan }),
    })),
  })
  const body = Buffer.from(text)
  return Buffer.concat([Buffer.from(`${checksum(body)}\n`), body])
}

/** Undefined, with the reason told, when it is not a snapshot of this root. */
export function decodeSnapshot(
  data: Buffer,
  root: string,
  tell: (problem: string) => void,
): Snapshot | undefined {
  const end = data.indexOf(0x0a)
  const body = data.subarray(end + 1)
  if (end === -1 || data.toString('latin1', 0, end) !== checksum(body)) {
    tell('its checksum does not match')
    return undefined
  }
  const json = parseJson(body, SNAPSHOT_BYTES_MAX)
  const object = json.ok && typeof json.value === 'object' ? { ...json.value } : {}
  const found: Record<string, unknown> = object
  const { format, confirmedAtMs, tables, rootZxid } = found
  if (format !== FORMAT || typeof confirmedAtMs !== 'number' || !Array.isArray(tables)) {
    tell(`it is not of format ${FORMAT}`)
    return undefined
  }
  if (found['root'] !== root) {
    tell(`it is of the root ${String(found['root'])}`)
    return undefined
  }
  const isZxid = typeof rootZxid === 'string' && /^\d{1,19}$/.test(rootZxid)
  return {
    root,
    rootZxid: isZxid ? BigInt(rootZxid) : undefined,
    confirmedAtMs,
    tables: tables.flatMap((item) => decodeTable(item) ?? []),
  }
}

function decodeTable(item: unknown): SavedTable | undefined {
  if (typeof item !== 'object' || item === null) return undefined
  const found: Record<string, unknown> = { ...item }
  const { table, group: tableGroup, plan } = found
  const own = decodeTarget(found['cluster'], found['metas'])
  if (typeof table !== 'string' || !isTableName(table) || own === undefined) return undefined
  const mapped: Mapped = {
    ...own,
    tableGroup: typeof tableGroup === 'string' ? tableGroup : undefined,
    stale: parseStalePolicy(found['stale']),
  }
  const stale = parseStalePolicy(found['policy']) ?? SERVE
  if (typeof plan !== 'string') return { table, mapped, route: { table, ...own, stale } }
  const target = decodeTarget(found['to'], found['toMetas'])
  if (target === undefined) return undefined
  const route = { table, ...target, stale, mappedCluster: own.cluster, plan }
  return { table, mapped, route }
}

function decodeTarget(
  name: unknown,
  items: unknown,
): Pick<Route, 'cluster' | 'metas' | 'group'> | undefined {
  const cluster = parseCluster(name, 'cluster')
  const metas = parseMetas(Array.isArray(items) ? items : [], 'metas')
  if (!cluster.ok || !metas.ok) return undefined
  return { cluster: cluster.value, metas: metas.value, group: canonicalMetas(metas.value) }
}

function checksum(body: Buffer): string {
  return `sha256:${createHash('sha256').update(body).digest('hex')}`
}
