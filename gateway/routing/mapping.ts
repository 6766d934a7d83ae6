/**
 * The value of a mapping node, `<root>/<table>` → cluster (gateway.md 3.1). Two forms of the same
 * JSON are read, from the RFC and from the Go proxy, and both are written unless told otherwise:
 *
 *     rfc   {"cluster": "c1", "meta-addrs": ["a:1", "b:2"]}
 *     go    {"cluster_name": "c1", "meta_addrs": "a:1,b:2"}
 *
 * Pure. A value from outside never throws: it is a mapping or a problem in words.
 */
const VALUE_BYTES_MAX = 64 * 1024
const METAS_MAX = 32
const FOUND_CHARS_MAX = 200
export const TABLE_NAME_BYTES_MAX = 255

export type MappingForm = 'rfc' | 'go' | 'both'

/** The optional keys that are ours; others are foreign and kept on every edit. */
export const OPTIONAL_KEYS = ['group', 'note', 'frozen', 'stale', 'standby'] as const

export interface Mapping {
  readonly cluster: string
  /** `host:port`, trimmed and without duplicates, in the order of the value. */
  readonly metas: readonly string[]
  readonly form: MappingForm
  /** No edits, except the one that thaws it. */
  readonly frozen: boolean
  /** The whole object as it was read, for edits. */
  readonly raw: Readonly<Record<string, unknown>>
}

export interface FieldProblem {
  /** The key at fault, '' for the value as a whole. */
  readonly field: string
  readonly message: string
}

export type Parsed<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: FieldProblem }

function bad(
  field: string,
  message: string,
): { readonly ok: false; readonly problem: FieldProblem } {
  return { ok: false, problem: { field, message } }
}

/** A table name that may be a node name at all; others exist nowhere. */
export function isTableName(name: string): boolean {
  if (name === '' || name === '.' || name === '..') return false
  if (Buffer.byteLength(name) > TABLE_NAME_BYTES_MAX) return false
  for (let at = 0; at < name.length; at++) if (isForbidden(name.charCodeAt(at))) return false
  return true
}

/** What ZooKeeper refuses in a path, and the slash that would name another node. */
function isForbidden(unit: number): boolean {
  const isControl = unit < 0x20 || (unit >= 0x7f && unit <= 0x9f)
  const isPrivate = (unit >= 0xd800 && unit <= 0xf8ff) || unit >= 0xfff0
  return isControl || isPrivate || unit === 0x2f
}

/** `IPv4:port` or `hostname:port`, trimmed; undefined for anything else. */
export function metaAddress(text: string): string | undefined {
  const trimmed = text.trim()
  const [, host = '', digits = ''] = /^([A-Za-z0-9._-]{1,253}):(\d{1,5})$/.exec(trimmed) ?? []
  const port = Number(digits)
  if (host === '' || port < 1 || port > 65535) return undefined
  if (/^[\d.]+$/.test(host)) {
    const parts = host.split('.')
    const isAddress =
      parts.length === 4 && parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255)
    return isAddress ? trimmed : undefined
  }
  return host.split('.').every((label) => /^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?$/.test(label))
    ? trimmed
    : undefined
}

/** 1 to 32 addresses, trimmed, duplicates dropped. */
export function parseMetas(items: readonly unknown[], field: string): Parsed<readonly string[]> {
  const metas = new Set<string>()
  const wrong: string[] = []
  for (const item of items) {
    const address = typeof item === 'string' ? metaAddress(item) : undefined
    if (address === undefined) wrong.push(JSON.stringify(item) ?? 'nothing')
    else metas.add(address)
  }
  if (wrong.length > 0)
    return bad(field, `expected host:port, found ${wrong.join(' and ').slice(0, FOUND_CHARS_MAX)}`)
  if (metas.size < 1 || metas.size > METAS_MAX)
    return bad(field, `expected 1 to ${METAS_MAX} addresses, found ${metas.size}`)
  return { ok: true, value: [...metas] }
}

export function parseCluster(value: unknown, field: string): Parsed<string> {
  const name = typeof value === 'string' ? value.trim() : ''
  return name === '' || name.length > 255
    ? bad(field, `expected a cluster name, found ${JSON.stringify(value)?.slice(0, 100)}`)
    : { ok: true, value: name }
}

export function parseJson(data: Buffer, bytesMax: number): Parsed<unknown> {
  if (data.length > bytesMax) return bad('', `a value of ${data.length} bytes, at most ${bytesMax}`)
  try {
    const value: unknown = JSON.parse(data.toString('utf8'))
    return { ok: true, value }
  } catch (error) {
    return bad('', `not JSON: ${error instanceof Error ? error.message : 'unreadable'}`)
  }
}

/** A JSON object, of up to 64 KiB unless told otherwise. */
export function parseObject(
  data: Buffer,
  bytesMax = VALUE_BYTES_MAX,
): Parsed<Record<string, unknown>> {
  const json = parseJson(data, bytesMax)
  if (!json.ok) return json
  const parsed = json.value
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    return bad('', 'expected a JSON object')
  return { ok: true, value: { ...parsed } }
}

interface Half {
  readonly cluster: string
  readonly metas: readonly string[]
}

/** One of the two forms; undefined when neither of its keys is there. */
function parseHalf(
  raw: Readonly<Record<string, unknown>>,
  clusterKey: string,
  metasKey: string,
): Parsed<Half> | undefined {
  if (raw[clusterKey] === undefined && raw[metasKey] === undefined) return undefined
  const cluster = parseCluster(raw[clusterKey], clusterKey)
  if (!cluster.ok) return cluster
  const value = raw[metasKey]
  const items = typeof value === 'string' ? value.split(',') : value
  if (!Array.isArray(items)) return bad(metasKey, 'expected a list of host:port')
  const metas = parseMetas(items, metasKey)
  return metas.ok ? { ok: true, value: { cluster: cluster.value, metas: metas.value } } : metas
}

/** Sorted, so that equal sets are equal texts: the identity of a meta group (M-1). */
export function canonicalMetas(metas: readonly string[]): string {
  return metas.toSorted((a, b) => (a < b ? -1 : 1)).join(',')
}

/** The value of a node; both forms together must say the same. */
export function parseMapping(data: Buffer): Parsed<Mapping> {
  const object = parseObject(data)
  if (!object.ok) return object
  const raw = object.value
  const rfc = parseHalf(raw, 'cluster', 'meta-addrs')
  const go = parseHalf(raw, 'cluster_name', 'meta_addrs')
  if (rfc?.ok === false) return rfc
  if (go?.ok === false) return go
  const half = rfc?.value ?? go?.value
  if (half === undefined) return bad('cluster', 'missing')
  if (rfc !== undefined && go !== undefined) {
    if (rfc.value.cluster !== go.value.cluster)
      return bad('cluster_name', `is ${go.value.cluster}, but cluster is ${rfc.value.cluster}`)
    if (canonicalMetas(rfc.value.metas) !== canonicalMetas(go.value.metas))
      return bad('meta_addrs', 'names other addresses than meta-addrs')
  }
  const form = rfc === undefined ? 'go' : go === undefined ? 'rfc' : 'both'
  return { ok: true, value: { ...half, form, frozen: raw['frozen'] === true, raw } }
}

export interface MappingEdit {
  readonly cluster: string
  readonly metas: readonly string[]
  /** Values of `OPTIONAL_KEYS`; an absent one is removed. */
  readonly optional?: Readonly<Partial<Record<(typeof OPTIONAL_KEYS)[number], unknown>>>
}

/**
 * The bytes of an edited node: the form found is kept, foreign keys too. `writeForm` is
 * for new nodes and for values that were no mapping.
 */
export function formatMapping(
  edit: MappingEdit,
  found: Mapping | undefined,
  writeForm: MappingForm,
): Buffer {
  const form = found?.form ?? writeForm
  const object: Record<string, unknown> = { ...found?.raw }
  for (const key of ['cluster', 'meta-addrs', 'cluster_name', 'meta_addrs', ...OPTIONAL_KEYS])
    delete object[key]
  const named: Record<string, unknown> = {}
  if (form !== 'go') Object.assign(named, { cluster: edit.cluster, 'meta-addrs': edit.metas })
  if (form !== 'rfc')
    Object.assign(named, { cluster_name: edit.cluster, meta_addrs: edit.metas.join(',') })
  for (const key of OPTIONAL_KEYS) {
    const value = edit.optional?.[key]
    if (value !== undefined) named[key] = value
  }
  return Buffer.from(JSON.stringify({ ...named, ...object }))
}
