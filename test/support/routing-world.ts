/**
 * Table directories alone, on memory coordination in virtual time: no socket, no real clock, so that
 * minutes of session loss cost milliseconds. The editor is the test's own session.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import { MemoryCoordination } from '../../cluster/coordinator/memory.ts'
import { Metrics } from '../../cluster/runtime/metrics.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { SimulatedWorld } from '../../cluster/runtime/simulated.ts'
import { gatewayMetrics } from '../../gateway/metrics.ts'
import { type DirectoryOptions, TableDirectory } from '../../gateway/routing/table-directory.ts'
import type { Lookup } from '../../gateway/routing/table-entry.ts'

export const root = '/metaproxy/tables'
export const controlRoot = '/metaproxy/tables.gateway'

const LIMIT_MS = 3_600_000

export interface SimulatedDirectory {
  readonly runtime: Runtime
  readonly coordinator: Coordinator
  readonly directory: TableDirectory
  readonly metrics: Metrics
}

export class RoutingWorld {
  readonly world: SimulatedWorld
  readonly memory: MemoryCoordination
  readonly editor: Coordinator
  #nodes = 0

  constructor(seed: number | string = 1) {
    this.world = new SimulatedWorld({ seed })
    this.memory = new MemoryCoordination(this.node('coordination'))
    this.editor = this.memory.connect(this.node('editor'), {
      name: 'editor',
      sessionTimeoutMs: 60_000,
      onExpiry: 'renew',
    })
  }

  /** With the root made. */
  static async start(seed?: number | string): Promise<RoutingWorld> {
    const routing = new RoutingWorld(seed)
    await routing.make(root, '')
    return routing
  }

  node(name: string): Runtime {
    this.#nodes++
    return this.world.node(name, { ip: `10.0.0.${this.#nodes}` }).runtime
  }

  directory(
    name: string,
    options: Partial<DirectoryOptions> = {},
    sessionTimeoutMs = 3000,
  ): SimulatedDirectory {
    const runtime = this.node(name)
    const coordinator = this.memory.connect(runtime, { name, sessionTimeoutMs, onExpiry: 'renew' })
    const metrics = new Metrics()
    const directory = new TableDirectory(runtime, coordinator, gatewayMetrics(metrics).directory, {
      root,
      controlRoot,
      stale: { kind: 'serve' },
      routesMax: 8192,
      negativesMax: 10_000,
      negativeTtlMs: 60_000,
      lookupTimeoutMs: 900,
      reconcileIntervalMs: 300_000,
      keepOnDeleteMs: 0,
      ...options,
    })
    return { runtime, coordinator, directory, metrics }
  }

  /** Time goes on until the condition holds; fails when it does not within an hour. */
  async until(condition: () => boolean, limitMs = LIMIT_MS): Promise<void> {
    const held = await this.world.run({ untilMs: this.world.nowMs() + limitMs, until: condition })
    if (!held) throw new Error(`does not hold after ${limitMs} ms of virtual time`)
  }

  async pass(ms: number): Promise<void> {
    await this.world.run({ untilMs: this.world.nowMs() + ms })
  }

  /** Time goes on until the promise is settled. */
  async settle<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false
    const settled = (): void => {
      isSettled = true
    }
    promise.then(settled, settled)
    await this.until(() => isSettled)
    return promise
  }

  async lookup(directory: TableDirectory, table: string): Promise<Lookup> {
    return this.settle(new Promise<Lookup>((tell) => directory.load(table, 60_000, tell)))
  }

  async lookups(directory: TableDirectory, tables: readonly string[]): Promise<readonly Lookup[]> {
    return this.settle(
      Promise.all(
        tables.map((table) => new Promise<Lookup>((tell) => directory.load(table, 60_000, tell))),
      ),
    )
  }

  /** Creates mappings, under the root that is there. */
  async mapAll(tables: readonly string[], cluster: string): Promise<void> {
    const data = Buffer.from(JSON.stringify(mappingTo(cluster)))
    const creates = tables.map((table) => ({
      type: 'create' as const,
      path: `${root}/${table}`,
      data,
    }))
    await this.settle(this.editor.multi(creates))
  }

  /** Creates or replaces a node, with its parents. */
  async make(path: string, value: unknown): Promise<void> {
    const data = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
    const parts = path.split('/').slice(1)
    for (const depth of parts.keys()) {
      const at = `/${parts.slice(0, depth + 1).join('/')}`
      if ((await this.settle(this.editor.exists(at))) === undefined)
        await this.settle(
          this.editor.create(at, depth + 1 === parts.length ? data : Buffer.alloc(0)),
        )
      else if (depth + 1 === parts.length) await this.settle(this.editor.set(at, data))
    }
  }

  async map(table: string, cluster: string, optional: object = {}): Promise<void> {
    await this.make(`${root}/${table}`, mappingTo(cluster, optional))
  }
}

export function mappingTo(cluster: string, optional: object = {}): object {
  return { cluster, 'meta-addrs': [`${cluster}.example:34601`], ...optional }
}

/** `route c1`, `missing`, `invalid`, `unavailable`, or `unread`. */
export function told(lookup: Lookup | undefined): string {
  if (lookup === undefined) return 'unread'
  return lookup.kind === 'route' ? `route ${lookup.route.cluster}` : lookup.kind
}
