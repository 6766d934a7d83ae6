/**
 * Routes of a process that may be overloaded (gateway.md L-7): what is in memory is answered as ever,
 * which costs next to nothing; what would have to be found out is refused at once as long as
 * `isShedding` (W-6: clients come again). Lookups that run already are finished.
 */
import type { Routes } from '../routing/routes.ts'
import type { Lookup } from '../routing/table-entry.ts'

const UNAVAILABLE: Lookup = { kind: 'unavailable' }

export class SheddingRoutes implements Routes {
  readonly #routes: Routes
  readonly #isShedding: () => boolean
  readonly #onShed: () => void

  constructor(
    routes: Routes,
    shedding: { readonly isShedding: () => boolean; readonly onShed: () => void },
  ) {
    this.#routes = routes
    this.#isShedding = shedding.isShedding
    this.#onShed = shedding.onShed
  }

  find(table: string): Lookup | undefined {
    return this.#routes.find(table)
  }

  load(table: string, budgetMs: number, tell: (lookup: Lookup) => void): void {
    if (!this.#isShedding()) {
      this.#routes.load(table, budgetMs, tell)
      return
    }
    this.#onShed()
    tell(UNAVAILABLE)
  }

  get epoch(): number {
    return this.#routes.epoch
  }

  get revision(): number {
    return this.#routes.revision
  }

  get routeCount(): number {
    return this.#routes.routeCount
  }

  get negativeCount(): number {
    return this.#routes.negativeCount
  }

  stalenessMs(): number {
    return this.#routes.stalenessMs()
  }

  get outage(): boolean {
    return this.#routes.outage
  }

  close(): void {
    this.#routes.close()
  }
}
