/**
 * What the nodes of the control tree say that routing depends on (gateway.md 3.6), as JSON:
 *
 *     clusters/<name>     {"metas": ["host:port", …], …}       the registry
 *     groups/<name>       {"stale": "serve|fail|bounded:<ms>", "members": [names], "patterns": [globs], …}
 *     redirects/<source>  {"to": "<cluster>", "plan": "<id>", "epoch": n, "digest": "sha256:<hex>"}
 *
 * Keys that are not ours are left alone. Pure; a value from outside never throws.
 */
import {
  canonicalMetas,
  type FieldProblem,
  parseCluster,
  parseMetas,
  parseObject,
  type Parsed,
} from './mapping.ts'
import { namePattern, type NameTest } from './name-pattern.ts'
import { parseStalePolicy, STALE_POLICY_EXPECTED, type StalePolicy } from './staleness.ts'

const GROUP_BYTES_MAX = 1 << 20

/** Outside the namespace of tables. */
export function controlRootOf(paths: {
  readonly root: string
  readonly controlRoot: string | undefined
}): string {
  return paths.controlRoot ?? `${paths.root}.gateway`
}

export interface RegisteredCluster {
  readonly metas: readonly string[]
  /** Equal for equal sets of metas. */
  readonly group: string
}

export interface TableGroup {
  readonly stale: StalePolicy | undefined
  /** Whether the group claims a table, besides those whose mapping names it. */
  readonly has: NameTest
}

export interface RedirectNode {
  /** The cluster that serves the plan's tables of the cluster that the node is named after. */
  readonly to: string
  readonly plan: string
  /** Of the operation that wrote it; published by gateways that have applied it. */
  readonly epoch: number
  /** `sha256:<hex>` of the plan's tables. */
  readonly digest: string
}

export function parseRegisteredCluster(_name: string, data: Buffer): Parsed<RegisteredCluster> {
  const object = parseObject(data)
  if (!object.ok) return object
  const items = object.value['metas']
  if (!Array.isArray(items)) return bad('metas', 'expected a list of host:port')
  const metas = parseMetas(items, 'metas')
  if (!metas.ok) return metas
  return { ok: true, value: { metas: metas.value, group: canonicalMetas(metas.value) } }
}

export function parseTableGroup(_name: string, data: Buffer): Parsed<TableGroup> {
  const object = parseObject(data, GROUP_BYTES_MAX)
  if (!object.ok) return object
  const { stale: text, members, patterns } = object.value
  const stale = parseStalePolicy(text)
  if (text !== undefined && stale === undefined)
    return bad('stale', `expected ${STALE_POLICY_EXPECTED}`)
  const names = new Set(textsOf(members))
  const tests = textsOf(patterns).map(namePattern)
  const has: NameTest = (table) => names.has(table) || tests.some((test) => test(table))
  return { ok: true, value: { stale, has } }
}

function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
}

export function parseRedirect(source: string, data: Buffer): Parsed<RedirectNode> {
  const object = parseObject(data)
  if (!object.ok) return object
  const { plan, epoch, digest } = object.value
  const to = parseCluster(object.value['to'], 'to')
  if (!to.ok) return to
  if (to.value === source) return bad('to', 'is the cluster itself')
  if (typeof plan !== 'string' || !isNodeName(plan)) return bad('plan', 'expected the id of a plan')
  if (typeof epoch !== 'number' || !Number.isSafeInteger(epoch) || epoch < 0)
    return bad('epoch', 'expected a whole number')
  if (typeof digest !== 'string' || !/^sha256:[0-9a-f]{64}$/.test(digest))
    return bad('digest', 'expected sha256: and 64 hexadecimal digits')
  return { ok: true, value: { to: to.value, plan, epoch, digest } }
}

/** The id of a plan is a node's name. */
export function isNodeName(value: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(value)
}

function bad(
  field: string,
  message: string,
): { readonly ok: false; readonly problem: FieldProblem } {
  return { ok: false, problem: { field, message } }
}
