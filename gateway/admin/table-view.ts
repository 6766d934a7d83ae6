/**
 * A mapping node as the admin API shows it. What the node says comes from its text; its state and its
 * groups also depend on the registry, the groups and what clusters last said they have: the context.
 * Pure.
 */
import type { NodeStat } from '../../cluster/coordinator/coordinator.ts'
import { type Mapping, canonicalMetas, parseMapping } from '../routing/mapping.ts'
import type { ChangeAuthor, FieldError } from './api/problem.ts'
import type { Table, TableState } from './api/tables.ts'
import type { Redirect } from '../routing/redirects.ts'
import type { NameTest } from '../routing/name-pattern.ts'
import type { FolderNode } from './watched-folder.ts'

export interface GroupTest {
  readonly name: string
  readonly members: ReadonlySet<string>
  readonly patterns: readonly NameTest[]
}

export interface TableContext {
  /**
   * Cluster → the metas that its tables should have, in canonical form: the registered ones; where
   * tables of an unregistered one differ, those that most of them have, '' when as many have others.
   */
  readonly metasOf: ReadonlyMap<string, string>
  readonly groups: readonly GroupTest[]
  /** Cluster → the tables that it has, of those clusters that were asked not long ago. */
  readonly tablesOf: ReadonlyMap<string, ReadonlySet<string>>
  /** In force, by source. */
  readonly redirects: ReadonlyMap<string, Pick<Redirect, 'to' | 'plan' | 'tables'>>
}

export const emptyContext: TableContext = {
  metasOf: new Map(),
  groups: [],
  tablesOf: new Map(),
  redirects: new Map(),
}

export interface TableView {
  readonly name: string
  readonly node: FolderNode
  /** Undefined when the node holds no mapping. */
  readonly mapping: Mapping | undefined
  /** Of its metas; '' when it holds no mapping. */
  readonly canonical: string
  /** Replaced when it is found out who made this version; no filter or order looks at that. */
  table: Table
  /** Lower case, what `q` looks at beside `shared`. */
  readonly search: string
  readonly shared: SharedText
  /** The table as JSON, made when it is first listed. */
  json: string | undefined
}

/**
 * What many tables have in common for `q`: cluster, metas and groups in lower case. It is looked
 * at once for all of them: the answer for the last `q` is kept here.
 */
export interface SharedText {
  readonly text: string
  askedFor: string
  answer: boolean
}

/** Bounded: when there are too many different ones, new ones are not shared. */
const sharedTexts = new Map<string, SharedText>()
const SHARED_MAX = 10_000

function sharedText(words: readonly (string | undefined)[]): SharedText {
  const text = words.join('\n').toLowerCase()
  const known = sharedTexts.get(text)
  if (known !== undefined) return known
  const made = { text, askedFor: '', answer: true }
  if (sharedTexts.size >= SHARED_MAX) sharedTexts.clear()
  sharedTexts.set(text, made)
  return made
}

export function contains({ search, shared }: TableView, q: string): boolean {
  if (shared.askedFor !== q) {
    shared.askedFor = q
    shared.answer = shared.text.includes(q)
  }
  return shared.answer || search.includes(q)
}

/** What an event tells of a table. */
export function eventFacts({
  etag,
  state,
  cluster,
  redirect,
}: Table): Pick<Table, 'etag' | 'state' | 'cluster' | 'redirect'> {
  return {
    etag,
    state,
    ...(cluster === undefined ? {} : { cluster }),
    ...(redirect === undefined ? {} : { redirect }),
  }
}

export function etagOf(stat: Pick<NodeStat, 'modifiedZxid' | 'version'>): string {
  return `"${stat.modifiedZxid}.${stat.version}"`
}

export function viewOf(
  node: FolderNode,
  context: TableContext,
  changedBy?: ChangeAuthor,
): TableView {
  const parsed = parseMapping(Buffer.from(node.text))
  const mapping = parsed.ok ? parsed.value : undefined
  const canonical = mapping === undefined ? '' : canonicalMetas(mapping.metas)
  const group = textOf(mapping, 'group')
  const memberOf = groupsOf(node.name, group, context.groups)
  const redirect = mapping && redirectOf(node.name, mapping, context)
  const table: Table = {
    name: node.name,
    state: stateOf(node.name, mapping, canonical, context),
    valid: parsed.ok,
    ...(mapping === undefined ? {} : mappingFacts(mapping)),
    memberOf,
    ...(redirect === undefined ? {} : { redirect }),
    ...(parsed.ok ? {} : { problem: problemFacts(parsed.problem) }),
    etag: etagOf(node.stat),
    version: node.stat.version,
    modifiedAt: new Date(node.stat.modifiedWallMs).toISOString(),
    ...(changedBy === undefined ? {} : { changedBy }),
  }
  const shared = sharedText([table.cluster, ...(table.metas ?? []), ...memberOf])
  const search = [node.name, ...(table.note === undefined ? [] : [table.note])].join('\n')
  return {
    name: node.name,
    node,
    mapping,
    canonical,
    table,
    search: search.toLowerCase(),
    shared,
    json: undefined,
  }
}

function problemFacts({ field, message }: FieldError): FieldError {
  return { field, message }
}

/** Of an optional key; another tool may have put anything there. */
export function textOf(mapping: Mapping | undefined, key: string): string | undefined {
  const value = mapping?.raw[key]
  return typeof value === 'string' ? value : undefined
}

function mappingFacts(mapping: Mapping): Partial<Table> {
  const { cluster, metas, form, frozen } = mapping
  const facts: Partial<Table> = { cluster, metas: [...metas], form }
  if (frozen) facts.frozen = true
  for (const key of ['group', 'note', 'stale', 'standby'] as const) {
    const value = textOf(mapping, key)
    if (value !== undefined) facts[key] = value
  }
  return facts
}

export function groupsOf(
  table: string,
  own: string | undefined,
  groups: readonly GroupTest[],
): string[] {
  const found = groups
    .filter(({ members, patterns }) => members.has(table) || patterns.some((test) => test(table)))
    .map(({ name }) => name)
  return own === undefined || found.includes(own) ? found : [own, ...found]
}

function redirectOf(
  table: string,
  { cluster }: Mapping,
  { redirects }: TableContext,
): Table['redirect'] {
  const redirect = redirects.get(cluster)
  if (redirect?.tables.has(table) !== true) return undefined
  return { to: redirect.to, plan: redirect.plan }
}

function stateOf(
  name: string,
  mapping: Mapping | undefined,
  canonical: string,
  context: TableContext,
): TableState {
  if (mapping === undefined) return 'invalid'
  const redirect = redirectOf(name, mapping, context)
  const cluster = redirect?.to ?? mapping.cluster
  if (context.tablesOf.get(cluster)?.has(name) === false) return 'dangling'
  if (redirect !== undefined) return 'redirected'
  const wanted = context.metasOf.get(mapping.cluster)
  if (wanted !== undefined && wanted !== canonical) return 'drifted'
  return mapping.frozen ? 'frozen' : 'ok'
}
