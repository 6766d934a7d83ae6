/**
 * The answer to "why does this client go there?" (gateway.md O-5): what the directory knows of a table,
 * what each serving process does with it, and the same in sentences. Pure.
 */
import type { SeenQuery } from './clients/query-watch.ts'
import type { RouteFacts } from './routing/route-facts.ts'
import type { Lookup } from './routing/table-entry.ts'
import type { GroupView } from './upstream/meta-group.ts'

/** One serving process: its own copy of the route, and the metas as it sees them. */
export interface ServedTable {
  readonly process: string
  readonly answer: Lookup['kind'] | 'unread'
  readonly cluster?: string
  readonly metas?: GroupView
  /** The last ones, the newest first, since somebody first looked. */
  readonly queries: readonly SeenQuery[]
}

export interface TableView {
  readonly table: string
  /** The whole story in sentences. */
  readonly why: readonly string[]
  readonly routing: RouteFacts | undefined
  readonly processes: readonly ServedTable[]
}

export function tableView(
  table: string,
  routing: RouteFacts | undefined,
  processes: readonly ServedTable[],
): TableView {
  const why = [
    ...(routing === undefined ? unroutedWords(table, processes) : answerWords(table, routing)),
    ...freshnessWords(routing),
    ...processes.flatMap((one) => processWords(one, routing)),
    ...queryWords(processes),
  ]
  return { table, why, routing, processes }
}

function unroutedWords(table: string, processes: readonly ServedTable[]): readonly string[] {
  return processes.some(({ answer }) => answer === 'missing')
    ? [`${table} cannot be the name of a node: clients are told ERR_OBJECT_NOT_FOUND.`]
    : [
        `${table} is in nobody's memory, and ZooKeeper gave no answer: clients are told ` +
          'ERR_SERVICE_NOT_ACTIVE and come again.',
      ]
}

function answerWords(table: string, routing: RouteFacts): readonly string[] {
  const { path, route, node, truth } = routing
  const source =
    node === undefined ? path : `${path} version ${node.version}, changed at ${node.modifiedAt}`
  switch (routing.answer) {
    case 'unread':
      return [`${path} is being read for the first time.`]
    case 'missing':
      return [`There is no node ${path}: clients are told ERR_OBJECT_NOT_FOUND, which is final.`]
    case 'invalid':
      return [`${source} never held a valid mapping: clients are told ERR_INVALID_DATA.`]
    case 'unavailable':
      return [
        `The route of ${table} may not be used any more: it is older than its staleness policy ` +
          'allows. Clients are told ERR_SERVICE_NOT_ACTIVE and come again.',
      ]
    case 'route':
      break
  }
  if (route === undefined) return []
  const metas = route.metas.join(', ')
  const words = [`${table} is served by cluster ${route.cluster} (${metas}).`]
  if (route.mappedCluster === undefined) words.push(`So says ${source}.`)
  else
    words.push(
      `${source} names cluster ${route.mappedCluster}; the redirect of plan ${route.plan ?? '?'} ` +
        `sends its tables to ${route.cluster}.`,
    )
  if (truth === 'invalid')
    words.push('The node holds no valid mapping now; the last good route stays in force.')
  return words
}

function freshnessWords(routing: RouteFacts | undefined): readonly string[] {
  if (routing === undefined) return []
  const { watch, unconfirmedMs, zookeeper, route, readAgoMs } = routing
  const read = readAgoMs === undefined ? '' : `Read ${seconds(readAgoMs)} ago. `
  if (unconfirmedMs === undefined)
    return [
      read +
        (watch === 'set'
          ? 'The node is watched: a change takes effect at once.'
          : 'The node is being read again.'),
    ]
  const policy = route === undefined ? '' : `, and its policy is ${route.stale}`
  return [
    `${read}ZooKeeper is ${zookeeper}: unconfirmed for ${seconds(unconfirmedMs)}${policy}. ` +
      'A change of the mapping is not known here.',
  ]
}

function processWords(served: ServedTable, routing: RouteFacts | undefined): readonly string[] {
  const { process, answer, cluster, metas } = served
  const name = process === '' ? 'This process' : `Worker ${process}`
  const words: string[] = []
  const differs = answer !== 'unread' && routing !== undefined && answer !== routing.answer
  const other = cluster !== undefined && cluster !== routing?.route?.cluster
  if (differs || other)
    words.push(
      `${name} answers differently: ${answer}${cluster === undefined ? '' : ` ${cluster}`}.`,
    )
  if (metas === undefined) return words
  const { leader } = metas
  const open = metas.metas.filter(({ breaker }) => breaker !== 'closed')
  words.push(
    leader === undefined
      ? `${name} knows no leader now: the next query asks the metas one after the other.`
      : `${name} asks the leader ${leader}.`,
  )
  for (const { address, breaker } of open)
    words.push(`${name} asks ${address} no more than a probe now: its breaker is ${breaker}.`)
  return words
}

function queryWords(processes: readonly ServedTable[]): readonly string[] {
  const queries = processes.flatMap((served) => served.queries)
  if (queries.length === 0)
    return ['Queries are recorded from now on, for a minute after each look: look again.']
  const last = queries.reduce((a, b) => (b.atMs > a.atMs ? b : a))
  const peers = new Set(queries.map(({ peer }) => peer.replace(/:\d+$/, '')))
  return [
    `The last ${queries.length} queries came from ${peers.size} addresses; the newest from ` +
      `${last.peer} was ${last.result} in ${last.ms} ms.`,
  ]
}

function seconds(ms: number): string {
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`
}
