/**
 * The table set of a plan (gateway.md 8.5, DR-30) and the redirect that names it. A set is written
 * before its redirect and never changed:
 *
 *     plans/<plan>/tables/0000, 0001, …   JSON arrays of names, each up to 500 KB
 *     digest = "sha256:" + hex(sha256(all names, sorted by their UTF-8 bytes, joined with "\n"))
 *
 * What is written here is what `redirects.ts` reads. The redirect and the epoch, which every tool
 * raises with a change, go into one transaction, the epoch last.
 */
import { createHash } from 'node:crypto'
import {
  type Coordinator,
  CoordinatorError,
  type CoordinatorOperation,
} from '../../cluster/coordinator/coordinator.ts'
import { isNodeName, type RedirectNode } from './control-nodes.ts'
import { isTableName, parseJson, type Parsed } from './mapping.ts'

const CHUNK_BYTES_MAX = 500_000
const CHUNKS_MAX = 200
export const PLAN_TABLES_MAX = 500_000

/** Distinct names in the order of their UTF-8 bytes. */
function sorted(tables: Iterable<string>): string[] {
  const pairs = [...new Set(tables)].map((name) => ({ name, bytes: Buffer.from(name) }))
  return pairs.toSorted((a, b) => Buffer.compare(a.bytes, b.bytes)).map(({ name }) => name)
}

export function planDigest(tables: Iterable<string>): string {
  const hash = createHash('sha256').update(sorted(tables).join('\n'))
  return `sha256:${hash.digest('hex')}`
}

/** The values of the nodes `tables/0000`, `tables/0001` and so on. Throws when a name is none. */
export function planChunks(tables: Iterable<string>): readonly Buffer[] {
  const chunks: Buffer[] = []
  let names: string[] = []
  let sizeBytes = 2
  const flush = (): void => {
    chunks.push(Buffer.from(JSON.stringify(names)))
    names = []
    sizeBytes = 2
  }
  for (const name of sorted(tables)) {
    if (!isTableName(name)) throw new Error(`not a table name: ${JSON.stringify(name)}`)
    const ownBytes = Buffer.byteLength(JSON.stringify(name)) + 1
    if (sizeBytes + ownBytes > CHUNK_BYTES_MAX) flush()
    names.push(name)
    sizeBytes += ownBytes
  }
  flush()
  if (chunks.length > CHUNKS_MAX) throw new Error(`a table set of ${chunks.length} nodes`)
  return chunks
}

export function parsePlanChunk(data: Buffer): Parsed<readonly string[]> {
  const json = parseJson(data, CHUNK_BYTES_MAX)
  if (!json.ok) return json
  const names: unknown = json.value
  if (!Array.isArray(names)) return { ok: false, problem: { field: '', message: 'no list' } }
  const tables = names.filter((name): name is string => typeof name === 'string')
  return tables.length === names.length
    ? { ok: true, value: tables }
    : { ok: false, problem: { field: '', message: 'a list of other things than names' } }
}

/** The children of `tables` in their order, when they are what a plan consists of. */
export function planChunkNames(children: readonly string[]): Parsed<readonly string[]> {
  const names = children.toSorted((a, b) => (a < b ? -1 : 1))
  const isWhole = names.every((name, index) => name === chunkName(index))
  return isWhole && names.length > 0 && names.length <= CHUNKS_MAX
    ? { ok: true, value: names }
    : { ok: false, problem: { field: '', message: `not the nodes 0000 to ${names.length - 1}` } }
}

export function planPath(controlRoot: string, plan: string): string {
  return `${controlRoot}/plans/${plan}/tables`
}

/** Resumable: nodes that are there are left, since a set never changes. Resolves to the digest. */
export async function writePlan(
  coordinator: Coordinator,
  controlRoot: string,
  plan: string,
  tables: readonly string[],
): Promise<string> {
  if (!isNodeName(plan)) throw new Error(`not the id of a plan: ${plan}`)
  const chunks = planChunks(tables)
  const path = planPath(controlRoot, plan)
  await makePath(coordinator, path)
  for (const [index, data] of chunks.entries())
    await createIfAbsent(coordinator, `${path}/${chunkName(index)}`, data)
  return planDigest(tables)
}

/** Makes sure of the nodes that `redirectOperations` and `endRedirectOperations` count on. */
export async function prepareRedirects(
  coordinator: Coordinator,
  controlRoot: string,
): Promise<void> {
  await makePath(coordinator, `${controlRoot}/redirects`)
  await createIfAbsent(coordinator, `${controlRoot}/epoch`, Buffer.alloc(0))
}

/** One transaction: the redirect in force, or another one in its place, and the epoch raised. */
export function redirectOperations(
  controlRoot: string,
  source: string,
  redirect: RedirectNode,
  /** Of the redirect node that is replaced; undefined when there is none. */
  replacedVersion?: number,
): readonly CoordinatorOperation[] {
  const path = `${controlRoot}/redirects/${source}`
  const data = Buffer.from(JSON.stringify(redirect))
  return [
    replacedVersion === undefined
      ? { type: 'create', path, data }
      : { type: 'set', path, data, version: replacedVersion },
    raiseEpoch(controlRoot),
  ]
}

export function endRedirectOperations(
  controlRoot: string,
  source: string,
  version: number,
): readonly CoordinatorOperation[] {
  return [
    { type: 'remove', path: `${controlRoot}/redirects/${source}`, version },
    raiseEpoch(controlRoot),
  ]
}

/** For the transaction of every change of routing, as its last operation. */
export function raiseEpoch(controlRoot: string): CoordinatorOperation {
  return { type: 'set', path: `${controlRoot}/epoch`, data: Buffer.alloc(0) }
}

/** Creates the node and its parents where they are missing. */
export async function makePath(coordinator: Coordinator, path: string): Promise<void> {
  const parts = path.split('/').slice(1)
  for (const depth of parts.keys())
    await createIfAbsent(coordinator, `/${parts.slice(0, depth + 1).join('/')}`, Buffer.alloc(0))
}

async function createIfAbsent(coordinator: Coordinator, path: string, data: Buffer): Promise<void> {
  try {
    await coordinator.create(path, data)
  } catch (error) {
    if (!(error instanceof CoordinatorError) || error.code !== 'node-exists') throw error
  }
}

function chunkName(index: number): string {
  return String(index).padStart(4, '0')
}
