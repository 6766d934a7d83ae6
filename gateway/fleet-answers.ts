/**
 * What this gateway answers to a question of its fleet (`routing/fleet-questions.ts`): its clients of a
 * table, what it serves for it, how it is. Asked by its own admin API too, and then without ZooKeeper.
 */
import type { EffectiveOption } from '../cluster/runtime/config.ts'
import type { RecentLine } from '../cluster/runtime/log-recent.ts'
import { type ClientFacts, mergeClients } from './client-facts.ts'
import type { TableCounts } from './metrics.ts'
import type { ClientsOfTable } from './processes/messages.ts'
import type { FleetQuestion } from './routing/fleet-questions.ts'
import { ANSWER_TEXT_MAX } from './routing/fleet-questions.ts'
import type { RouteFacts } from './routing/route-facts.ts'
import type { ServedTable } from './table-view.ts'

/** A client, and whether it was last told another cluster than the one that is served now. */
export interface SeenClient extends ClientFacts {
  readonly slow: boolean
}

export interface ClientsAnswer {
  /** Served now; left out when there is none. */
  readonly cluster?: string
  readonly total: number
  readonly slow: number
  /** Some are not here: the slow ones and the newest are. */
  readonly isShort: boolean
  readonly clients: readonly SeenClient[]
}

export interface RouteAnswer {
  /** `route`, `missing`, `invalid`, `unavailable`, or `unread`: the next query reads it. */
  readonly kind: string
  readonly cluster?: string
  readonly metas?: readonly string[]
  /** With a redirect: the cluster that the mapping names, and the plan. */
  readonly mappedCluster?: string
  readonly plan?: string
  /** Changes of this gateway's routes so far. */
  readonly epoch: number
  /** Of the mapping node that it comes from. */
  readonly zxid?: string
  readonly version?: number
  readonly readAgoMs?: number
  /** Since when ZooKeeper could not confirm it. */
  readonly unconfirmedMs?: number
  /** Processes of this gateway that serve something else. */
  readonly differing: readonly {
    readonly process: string
    readonly kind: string
    readonly cluster?: string
  }[]
}

export interface RatesAnswer {
  /** Monotonic, of this gateway. */
  readonly atMs: number
  /** Which processes counted: with others, counts of before cannot be compared. */
  readonly processes: string
  /** Queries of each table so far, the most asked for first. */
  readonly counts: readonly (readonly [table: string, queries: number])[]
  /** Some tables are not here. */
  readonly isShort: boolean
}

export interface GatewayAnswer {
  /** Warnings and errors, the newest first; `process` is a worker's name, '' the gateway's own. */
  readonly recent: readonly (RecentLine & { readonly process: string })[]
  /** Secrets masked. */
  readonly config: readonly Pick<EffectiveOption, 'path' | 'value' | 'source'>[]
}

/** What one process counted; its name and number make it another one after a restart. */
export interface ProcessCounts extends TableCounts {
  readonly process: string
}

export interface AnswerParts {
  readonly describe: (table: string) => RouteFacts | undefined
  readonly epoch: () => number
  readonly served: (table: string) => Promise<readonly ServedTable[]>
  readonly clientsOf: (table: string) => Promise<readonly ClientsOfTable[]>
  readonly monotonicMs: () => number
  readonly tableCounts: () => Promise<readonly ProcessCounts[]>
  readonly recentLines: () => Promise<readonly (RecentLine & { readonly process: string })[]>
  readonly effective: () => readonly EffectiveOption[]
}

const RECENT_MAX = 50
const VALUE_CHARS_MAX = 500
/** What else is in an answer takes less than the rest. */
const LIST_BYTES_MAX = ANSWER_TEXT_MAX - 4096

export async function answerQuestion(
  parts: AnswerParts,
  question: FleetQuestion,
): Promise<unknown> {
  switch (question.kind) {
    case 'clients':
      return clientsAnswer(
        await parts.clientsOf(question.table),
        parts.describe(question.table)?.route?.cluster,
      )
    case 'route':
      return routeAnswer(
        parts.describe(question.table),
        parts.epoch(),
        await parts.served(question.table),
      )
    case 'rates':
      return ratesAnswer(parts.monotonicMs(), await parts.tableCounts())
    case 'gateway':
      return gatewayAnswer(await parts.recentLines(), parts.effective())
    default:
      return question satisfies never
  }
}

export function clientsAnswer(
  found: readonly ClientsOfTable[],
  cluster: string | undefined,
): ClientsAnswer {
  const all = mergeClients(found.map(({ clients }) => clients))
    .map((client) => ({ ...client, slow: isSlow(client, cluster) }))
    .toSorted((a, b) => Number(b.slow) - Number(a.slow) || b.lastAtMs - a.lastAtMs)
  const clients = fitting(all)
  return {
    ...(cluster === undefined ? {} : { cluster }),
    total: all.length,
    slow: all.filter(({ slow }) => slow).length,
    isShort: clients.length < all.length || found.some(({ isShort }) => isShort),
    clients,
  }
}

/** It asked before the last change of the cluster, and not since. */
function isSlow({ cluster: told }: ClientFacts, cluster: string | undefined): boolean {
  return told !== undefined && cluster !== undefined && told !== cluster
}

function routeAnswer(
  facts: RouteFacts | undefined,
  epoch: number,
  processes: readonly ServedTable[],
): RouteAnswer {
  const { route, node, readAgoMs, unconfirmedMs } = facts ?? {}
  const kind = facts?.answer ?? 'unread'
  const differing = processes.filter(
    ({ answer, cluster }) => answer !== 'unread' && (answer !== kind || cluster !== route?.cluster),
  )
  return {
    kind,
    ...(route === undefined ? {} : { cluster: route.cluster, metas: route.metas }),
    ...(route?.mappedCluster === undefined ? {} : { mappedCluster: route.mappedCluster }),
    ...(route?.plan === undefined ? {} : { plan: route.plan }),
    epoch,
    ...(node === undefined ? {} : { zxid: node.modifiedZxid, version: node.version }),
    ...(readAgoMs === undefined ? {} : { readAgoMs }),
    ...(unconfirmedMs === undefined ? {} : { unconfirmedMs }),
    differing: differing.map(({ process, answer, cluster }) => ({
      process,
      kind: answer,
      ...(cluster === undefined ? {} : { cluster }),
    })),
  }
}

export function ratesAnswer(atMs: number, found: readonly ProcessCounts[]): RatesAnswer {
  const sums = new Map<string, number>()
  for (const { tables } of found)
    for (const [table, queries] of tables) sums.set(table, (sums.get(table) ?? 0) + queries)
  const all = [...sums].toSorted(([, a], [, b]) => b - a)
  const processes = found.map(({ process }) => process).toSorted()
  const counts = fitting(all)
  const isShort = counts.length < all.length || found.some((one) => one.isShort)
  return { atMs: Math.round(atMs), processes: processes.join(' '), counts, isShort }
}

function gatewayAnswer(
  lines: readonly (RecentLine & { readonly process: string })[],
  effective: readonly EffectiveOption[],
): GatewayAnswer {
  const config = effective.map(({ path, value, source }) => ({
    path,
    value: JSON.stringify(value).length > VALUE_CHARS_MAX ? '(too long to show)' : value,
    source,
  }))
  const newest = lines.toSorted((a, b) => b.atMs - a.atMs).slice(0, RECENT_MAX)
  return { config, recent: fitting(newest, Buffer.byteLength(JSON.stringify(config))) }
}

/** The first ones, as many as an answer has room for beside what takes `taken` bytes. */
function fitting<T>(items: readonly T[], taken = 0): readonly T[] {
  let left = LIST_BYTES_MAX - taken
  const first = items.findIndex((item) => {
    left -= Buffer.byteLength(JSON.stringify(item)) + 1
    return left < 0
  })
  return first < 0 ? items : items.slice(0, first)
}
