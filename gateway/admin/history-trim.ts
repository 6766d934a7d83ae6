/**
 * Removing the histories of tables that were deleted long ago (`history.keepDeletedDays`). What happened
 * stays in the audit as long as that is kept.
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Log, Runtime } from '../../cluster/runtime/runtime.ts'
import { type ControlTree, isCode } from './control-tree.ts'
import type { TableHistories } from './table-history.ts'
import type { TableMirror } from './table-mirror.ts'

const DAY_MS = 86_400_000
/** Looked at in one run; the next one goes on behind them. */
const TABLES_OF_RUN_MAX = 1000
const REMOVED_TOGETHER = 100

export class HistoryTrimmer {
  readonly #runtime: Runtime
  readonly #log: Log
  readonly #coordinator: Coordinator
  readonly #tree: ControlTree
  readonly #mirror: TableMirror
  readonly #histories: TableHistories
  readonly #keepDays: number
  /** The last table looked at. */
  #behind = ''

  /** `keepDays` 0: for ever. */
  constructor(
    parts: {
      readonly runtime: Runtime
      readonly coordinator: Coordinator
      readonly tree: ControlTree
      readonly mirror: TableMirror
      readonly histories: TableHistories
    },
    keepDays: number,
  ) {
    this.#runtime = parts.runtime
    this.#log = parts.runtime.log.child({ part: 'audit' })
    this.#coordinator = parts.coordinator
    this.#tree = parts.tree
    this.#mirror = parts.mirror
    this.#histories = parts.histories
    this.#keepDays = keepDays
  }

  /** By one gateway of the fleet. Rejects with a `CoordinatorError`. */
  async trim(): Promise<void> {
    if (this.#keepDays === 0 || this.#mirror.freshness().state !== 'live') return
    const untilMs = this.#runtime.clock.wallMs() - this.#keepDays * DAY_MS
    const all = (await this.#coordinator.children(this.#tree.path('history'))).toSorted()
    const unmapped = all.filter((name) => this.#mirror.get(name) === undefined)
    const next = unmapped.filter((name) => name > this.#behind).slice(0, TABLES_OF_RUN_MAX)
    this.#behind = next.length < TABLES_OF_RUN_MAX ? '' : (next.at(-1) ?? '')
    for (const name of next) {
      const latest = await this.#histories.latest(name)
      if (latest?.after === null && Date.parse(latest.at) < untilMs) await this.#remove(name)
    }
  }

  /** Whoever maps the table again at this moment adds to what is left, or makes a new history. */
  async #remove(table: string): Promise<void> {
    const path = this.#tree.path('history', table)
    const names = (await this.#histories.names(table)) ?? []
    try {
      for (let at = 0; at < names.length; at += REMOVED_TOGETHER)
        await this.#coordinator.multi(
          names
            .slice(at, at + REMOVED_TOGETHER)
            .map((name) => ({ type: 'remove', path: `${path}/${name}` })),
        )
      await this.#coordinator.remove(path)
      this.#log.info('history of a deleted table removed', { table, versions: names.length })
    } catch (error) {
      if (!isCode(error, 'no-node', 'not-empty')) throw error
    }
  }
}
