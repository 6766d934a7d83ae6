/**
 * What the gateways of the fleet answered (`fleet-asker.ts`), judged and put side by side for people.
 * An answer in no form that this version knows counts as none. Pure.
 */
import { type TSchema, type Static, Type } from 'typebox'
import { Check } from 'typebox/value'
import { type ClientFacts, mergeClients } from '../client-facts.ts'
import type { SeenClient } from '../fleet-answers.ts'
import { canonicalMetas } from '../routing/mapping.ts'
import type { Gateway, GatewayDetail } from './api/gateways.ts'
import {
  ServedRoute,
  type TableClient,
  type TableClients,
  type TableRoutes,
} from './api/table-fleet.ts'
import type { FleetAnswers } from './fleet-asker.ts'
import type { TableView } from './table-view.ts'

/** Of one response. */
const CLIENTS_MAX = 5000

const results = ['relayed', 'no-table', 'invalid-mapping', 'unavailable', 'unreadable', 'limited']
const SeenClientAnswer = Type.Object({
  address: Type.String({ maxLength: 100 }),
  firstAtMs: Type.Number({ minimum: 0, maximum: 8e15 }),
  lastAtMs: Type.Number({ minimum: 0, maximum: 8e15 }),
  queries: Type.Integer(),
  version: Type.Union([Type.Literal(0), Type.Literal(1), Type.Literal('native')]),
  libraries: Type.Array(Type.String()),
  isWhole: Type.Boolean(),
  result: Type.Union(results.map((result) => Type.Literal(result))),
  cluster: Type.Optional(Type.String()),
  slow: Type.Boolean(),
})

const ClientsAnswerForm = Type.Object({
  cluster: Type.Optional(Type.String()),
  total: Type.Integer(),
  slow: Type.Integer(),
  isShort: Type.Boolean(),
  clients: Type.Array(SeenClientAnswer),
})

const GatewayAnswerForm = Type.Object({
  recent: Type.Array(
    Type.Object({
      atMs: Type.Number({ minimum: 0, maximum: 8e15 }),
      level: Type.Union([Type.Literal('warn'), Type.Literal('error')]),
      event: Type.String(),
      fields: Type.String(),
      process: Type.String(),
    }),
  ),
  config: Type.Array(
    Type.Object({ path: Type.String(), value: Type.Unknown(), source: Type.String() }),
  ),
})

export interface Judged<T> {
  readonly told: ReadonlyMap<string, T>
  /** What every view of the fleet begins with. */
  readonly asked: Pick<TableClients, 'askedAt' | 'elapsedMs' | 'answered' | 'silent'>
}

/** An answer in another form counts as none, and its gateway as silent. */
export function judge<S extends TSchema>(
  { askedAt, elapsedMs, answers, silent }: FleetAnswers,
  form: S,
): Judged<Static<S>> {
  const told = new Map<string, Static<S>>()
  const all = [...silent]
  for (const [id, answer] of answers)
    if (Check(form, answer)) told.set(id, answer)
    else all.push({ id, reason: 'an answer in a form that this version does not know' })
  const answered = [...told.keys()].toSorted()
  const sorted = all.toSorted((a, b) => (a.id < b.id ? -1 : 1))
  return { told, asked: { askedAt, elapsedMs, answered, silent: sorted } }
}

export function tableClients(found: FleetAnswers, selfId: string): TableClients {
  const { told, asked } = judge(found, ClientsAnswerForm)
  const gatewaysOf = new Map<string, string[]>()
  const slowAt = new Map<string, SeenClient>()
  for (const [id, { clients }] of told)
    for (const client of clients) {
      const { address } = client
      gatewaysOf.set(address, [...(gatewaysOf.get(address) ?? []), id])
      const other = slowAt.get(address)
      if (other === undefined || client.lastAtMs > other.lastAtMs) slowAt.set(address, client)
    }
  // Whoever asked another gateway since is not slow any more: the newest answer decides.
  const merged = mergeClients([...told.values()].map(({ clients }) => clients)).map((client) =>
    clientOf(client, {
      gateways: (gatewaysOf.get(client.address) ?? []).toSorted(),
      slow: slowAt.get(client.address)?.slow === true,
    }),
  )
  const sorted = merged.toSorted(
    (a, b) => Number(b.slow) - Number(a.slow) || (a.lastQueryAt < b.lastQueryAt ? 1 : -1),
  )
  const cluster =
    told.get(selfId)?.cluster ??
    [...told.values()].map((answer) => answer.cluster).find((name) => name !== undefined)
  const slow = merged.filter((client) => client.slow).length
  const isShort = [...told.values()].some((answer) => answer.isShort)
  const most = (key: 'total' | 'slow'): number =>
    Math.max(0, ...[...told.values()].map((answer) => answer[key]))
  return {
    ...asked,
    ...(cluster === undefined ? {} : { cluster }),
    total: Math.max(merged.length, most('total')),
    slow: isShort ? Math.max(slow, most('slow')) : slow,
    truncated: isShort || merged.length > CLIENTS_MAX,
    clients: sorted.slice(0, CLIENTS_MAX),
  }
}

function clientOf(
  facts: ClientFacts,
  { gateways, slow }: Pick<TableClient, 'gateways' | 'slow'>,
): TableClient {
  const { address, firstAtMs, lastAtMs, queries, version, libraries, isWhole, result } = facts
  return {
    address,
    gateways,
    firstQueryAt: new Date(firstAtMs).toISOString(),
    lastQueryAt: new Date(lastAtMs).toISOString(),
    queries,
    headerVersion: version,
    libraries: [...libraries],
    isWhole,
    result,
    ...(facts.cluster === undefined ? {} : { cluster: facts.cluster }),
    slow,
  }
}

export function tableRoutes(
  found: FleetAnswers,
  view: TableView | undefined,
  fleet: { readonly gateways: readonly Gateway[]; readonly fleetEpoch: number },
): TableRoutes {
  const { told, asked } = judge(found, ServedRoute)
  const wanted = wantedOf(view)
  return {
    ...asked,
    wanted,
    fleetEpoch: fleet.fleetEpoch,
    gateways: fleet.gateways.map(({ id, self, appliedEpoch, behind }) => {
      const serves = told.get(id)
      return {
        id,
        self,
        appliedEpoch,
        behind,
        ...(serves === undefined ? {} : { serves, agrees: agrees(serves, wanted) }),
      }
    }),
  }
}

function wantedOf(view: TableView | undefined): TableRoutes['wanted'] {
  if (view === undefined) return { kind: 'missing' }
  const { stat } = view.node
  const { valid, redirect, metas } = view.table
  const cluster = redirect?.to ?? view.table.cluster
  return {
    kind: valid ? 'route' : 'invalid',
    ...(cluster === undefined ? {} : { cluster }),
    ...(redirect !== undefined || metas === undefined ? {} : { metas }),
    zxid: `0x${stat.modifiedZxid.toString(16)}`,
    version: stat.version,
  }
}

/** A gateway that was never asked for the table will read what is wanted. */
function agrees(
  { kind, cluster, metas, zxid, differing }: ServedRoute,
  wanted: TableRoutes['wanted'],
): boolean {
  if (kind === 'unread') return true
  if (differing.length > 0 || zxid !== wanted.zxid) return false
  if (wanted.kind === 'missing') return kind === 'missing'
  // A node that holds no mapping leaves the last good route in force.
  if (wanted.kind !== 'route') return kind === 'route' || kind === 'invalid'
  if (kind !== 'route' || cluster !== wanted.cluster) return false
  return wanted.metas === undefined || canonicalMetas(metas ?? []) === canonicalMetas(wanted.metas)
}

export function gatewayDetail(found: FleetAnswers, gateway: Gateway): GatewayDetail {
  const { told, asked } = judge(found, GatewayAnswerForm)
  const answer = told.get(gateway.id)
  if (answer === undefined) return { ...asked, gateway }
  return {
    ...asked,
    gateway,
    recent: answer.recent.map(({ atMs, level, event, fields, process }) => ({
      at: new Date(atMs).toISOString(),
      level,
      event,
      fields,
      ...(process === '' ? {} : { process }),
    })),
    config: answer.config.map(({ path, value, source }) => ({ path, value, source })),
  }
}
