/**
 * The cluster redirects in force (gateway.md 8.5, DR-30): each sends the tables of its plan, as far as
 * they are mapped to its source, to another cluster. Never chained: the target is not looked up again.
 *
 * A redirect is applied when its plan's table set was read and has the digest it names, and its
 * target is in the registry; whole, or not at all. One that cannot be applied is refused with an
 * alarm, the one applied before stays, and it is tried again.
 */
import { type Coordinator, CoordinatorError } from '../../cluster/coordinator/coordinator.ts'
import type { Log, Runtime, Timer } from '../../cluster/runtime/runtime.ts'
import type { RedirectNode, RegisteredCluster } from './control-nodes.ts'
import {
  PLAN_TABLES_MAX,
  parsePlanChunk,
  planChunkNames,
  planDigest,
  planPath,
} from './redirect-plan.ts'

export interface Redirect extends RedirectNode {
  readonly source: string
  readonly tables: ReadonlySet<string>
  readonly target: RegisteredCluster
}

export interface RedirectsOptions {
  readonly controlRoot: string
  /** Undefined while the registry was not read. */
  readonly clusters: () => ReadonlyMap<string, RegisteredCluster> | undefined
  /** What is in force has changed, all of it at once. */
  readonly onChange: () => void
  /** Every redirect is applied or refused; none waits for its table set. */
  readonly onDecided: () => void
  readonly onRefused: (source: string, problem: string | undefined) => void
}

const RETRY_MS = 1000
const RETRY_MS_MAX = 30_000

type TableSet =
  | { readonly kind: 'reading' }
  /** Nobody could tell; it is read again. */
  | { readonly kind: 'unread' }
  | { readonly kind: 'read'; readonly tables: ReadonlySet<string> }
  | { readonly kind: 'bad'; readonly problem: string }

export class Redirects {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #coordinator: Coordinator
  readonly #options: RedirectsOptions
  #nodes: ReadonlyMap<string, RedirectNode> | undefined
  /** By plan and digest; only those that a node names. */
  readonly #sets = new Map<string, TableSet>()
  readonly #refused = new Map<string, string>()
  readonly #malformed = new Set<string>()
  #applied: ReadonlyMap<string, Redirect> = new Map()
  #isDecided = false
  #waiting: (() => void)[] = []
  #retryMs = RETRY_MS
  #retryTimer: Timer | undefined
  #closed = false
  readonly #stopListening: () => void

  constructor(runtime: Runtime, coordinator: Coordinator, options: RedirectsOptions) {
    this.#runtime = runtime
    this.#log = runtime.log.child({ part: 'redirects' })
    this.#coordinator = coordinator
    this.#options = options
    this.#stopListening = coordinator.onState((state) => {
      if (state === 'connected') this.#tryAgain('unread')
    })
  }

  /** In force, by source. */
  get applied(): ReadonlyMap<string, Redirect> {
    return this.#applied
  }

  /** Every redirect was once applied or refused. */
  get isDecided(): boolean {
    return this.#isDecided
  }

  get refusedCount(): number {
    return this.#refused.size + this.#malformed.size
  }

  /** A table set is missing that may change what is in force. */
  get isReading(): boolean {
    return [...this.#sets.values()].some(({ kind }) => kind === 'reading' || kind === 'unread')
  }

  /** The redirect of a table that is mapped to this cluster. */
  find(cluster: string, table: string): Redirect | undefined {
    const redirect = this.#applied.get(cluster)
    return redirect?.tables.has(table) === true ? redirect : undefined
  }

  /** The nodes as they are now. */
  update(nodes: ReadonlyMap<string, RedirectNode>): void {
    this.#nodes = new Map(nodes)
    const named = new Set([...nodes.values()].map(setKey))
    for (const key of this.#sets.keys()) if (!named.has(key)) this.#sets.delete(key)
    this.decide()
  }

  /** The node holds no redirect now; `update` follows when it does again. */
  malformed(source: string, isMalformed: boolean): void {
    if (isMalformed) this.#malformed.add(source)
    else this.#malformed.delete(source)
  }

  /** Resolves when every redirect is applied; one that is refused or malformed is not. */
  settled(): Promise<void> {
    if (this.#isWhole()) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
    })
  }

  close(): void {
    this.#closed = true
    this.#stopListening()
    this.#retryTimer?.cancel()
    this.#waiting = []
  }

  /** Applies what can be applied: after changes of nodes, of the registry, and of sets. */
  decide(): void {
    const clusters = this.#options.clusters()
    if (this.#closed || this.#nodes === undefined || clusters === undefined) return
    const applied = new Map<string, Redirect>()
    for (const source of this.#refused.keys())
      if (!this.#nodes.has(source)) this.#refuse(source, undefined)
    for (const [source, node] of this.#nodes) {
      const before = this.#applied.get(source)
      const next = this.#judge(source, node, clusters)
      const redirect = next ?? before
      if (redirect !== undefined) applied.set(source, redirect)
    }
    const changed = differs(this.#applied, applied)
    if (changed) {
      for (const [source, { to, plan, tables }] of applied)
        if (this.#applied.get(source)?.plan !== plan)
          this.#log.info('redirect applied', { source, to, plan, tables: tables.size })
      for (const source of this.#applied.keys())
        if (!applied.has(source)) this.#log.info('redirect ended', { source })
      this.#applied = applied
      this.#options.onChange()
    }
    if (!this.isReading) {
      this.#isDecided = true
      this.#options.onDecided()
    }
    if (this.#isWhole()) {
      const waiting = this.#waiting
      this.#waiting = []
      for (const resolve of waiting) resolve()
    }
  }

  /** The redirect to be in force; undefined while it cannot be applied. */
  #judge(
    source: string,
    node: RedirectNode,
    clusters: ReadonlyMap<string, RegisteredCluster>,
  ): Redirect | undefined {
    const before = this.#applied.get(source)
    const isSameSet = before?.plan === node.plan && before.digest === node.digest
    const set: TableSet = isSameSet ? { kind: 'read', tables: before.tables } : this.#tableSet(node)
    if (set.kind === 'reading' || set.kind === 'unread') return undefined
    if (set.kind === 'bad') {
      this.#refuse(source, set.problem)
      this.#retryLater()
      return undefined
    }
    const known = clusters.get(node.to)
    if (known === undefined) this.#refuse(source, `cluster ${node.to} is not in the registry`)
    else this.#refuse(source, undefined)
    // Of a redirect in force the last good metas stay.
    const target = known ?? (before?.to === node.to ? before.target : undefined)
    return target === undefined ? undefined : { ...node, source, tables: set.tables, target }
  }

  #tableSet(node: RedirectNode): TableSet {
    const key = setKey(node)
    const known = this.#sets.get(key)
    if (known !== undefined) return known
    const reading: TableSet = { kind: 'reading' }
    this.#sets.set(key, reading)
    void this.#readSet(node).then((set) => {
      if (this.#closed || this.#sets.get(key) !== reading) return
      this.#sets.set(key, set)
      if (set.kind === 'read') this.#retryMs = RETRY_MS
      if (set.kind === 'unread') this.#retryLater()
      else this.decide()
    })
    return reading
  }

  async #readSet(node: RedirectNode): Promise<TableSet> {
    const path = planPath(this.#options.controlRoot, node.plan)
    const bad = (problem: string): TableSet => ({ kind: 'bad', problem: `${path}: ${problem}` })
    const tables = new Set<string>()
    try {
      const chunks = planChunkNames(await this.#coordinator.children(path))
      if (!chunks.ok) return bad(chunks.problem.message)
      for (const chunk of chunks.value) {
        const { data } = await this.#coordinator.get(`${path}/${chunk}`)
        const names = parsePlanChunk(data)
        if (!names.ok) return bad(`${chunk}: ${names.problem.message}`)
        for (const name of names.value) tables.add(name)
        if (tables.size > PLAN_TABLES_MAX) return bad(`more than ${PLAN_TABLES_MAX} tables`)
      }
    } catch (error) {
      const code = error instanceof CoordinatorError ? error.code : String(error)
      if (code === 'no-node') return bad('missing')
      if (code === 'no-auth') return bad('may not be read')
      return { kind: 'unread' }
    }
    const digest = planDigest(tables)
    return digest === node.digest
      ? { kind: 'read', tables }
      : bad(`its digest is ${digest}, not ${node.digest}`)
  }

  /** Sets are never changed, but may be written too late, and reading may have failed. */
  #retryLater(): void {
    if (this.#closed || this.#retryTimer !== undefined) return
    this.#retryTimer = this.#runtime.timers.after(this.#retryMs, () => {
      this.#retryTimer = undefined
      this.#retryMs = Math.min(RETRY_MS_MAX, this.#retryMs * 2)
      this.#tryAgain('unread')
      this.#tryAgain('bad')
    })
  }

  #tryAgain(kind: 'unread' | 'bad'): void {
    const keys = [...this.#sets].filter(([, set]) => set.kind === kind).map(([key]) => key)
    for (const key of keys) this.#sets.delete(key)
    if (keys.length > 0) this.decide()
  }

  #refuse(source: string, problem: string | undefined): void {
    if (this.#refused.get(source) === problem) return
    if (problem === undefined) this.#refused.delete(source)
    else {
      this.#refused.set(source, problem)
      this.#log.error('redirect refused', { source, problem })
    }
    this.#options.onRefused(source, problem)
  }

  #isWhole(): boolean {
    if (!this.#isDecided || this.#nodes === undefined || this.refusedCount > 0) return false
    for (const [source, node] of this.#nodes) {
      const applied = this.#applied.get(source)
      if (applied === undefined || !isSame(applied, node)) return false
    }
    return true
  }
}

function setKey({ plan, digest }: RedirectNode): string {
  return `${plan} ${digest}`
}

function isSame(a: RedirectNode, b: RedirectNode): boolean {
  return a.to === b.to && a.plan === b.plan && a.digest === b.digest && a.epoch === b.epoch
}

function differs(a: ReadonlyMap<string, Redirect>, b: ReadonlyMap<string, Redirect>): boolean {
  if (a.size !== b.size) return true
  for (const [source, redirect] of b) {
    const other = a.get(source)
    if (other === undefined || !isSame(redirect, other)) return true
    if (redirect.target.group !== other.target.group) return true
  }
  return false
}
