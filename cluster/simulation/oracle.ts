/**
 * What the clients of a run asked for and were told: the history that linearizability is judged by.
 * An operation is acknowledged, refused with certainty (no effect), or unknown: then it may take
 * effect at any later time or never. Order is the order of calls into the oracle.
 */
import type { KeyOperation, RowChange, RowReading } from './checkers/linearizable.ts'

interface OpenOperation {
  readonly process: string
  readonly hashKey: string
  readonly invokedAt: number
  readonly change: RowChange
}

export interface OracleCounts {
  readonly acknowledged: number
  readonly refused: number
  readonly unknown: number
}

/** `writes` empty means a read of the sort keys in `reads`. */
export class Oracle {
  readonly #histories = new Map<string, KeyOperation[]>()
  #clock = 0
  #acknowledged = 0
  #refused = 0
  #unknown = 0

  counts(): OracleCounts {
    return {
      acknowledged: this.#acknowledged,
      refused: this.#refused,
      unknown: this.#unknown,
    }
  }

  /** Histories by hash key. */
  histories(): ReadonlyMap<string, readonly KeyOperation[]> {
    return this.#histories
  }

  /** Starts a write of all these rows at once; undefined removes a row. */
  beginWrite(process: string, hashKey: string, change: RowChange): OpenOperation {
    return { process, hashKey, change, invokedAt: this.#clock++ }
  }

  beginRead(process: string, hashKey: string): OpenOperation {
    return { process, hashKey, change: new Map(), invokedAt: this.#clock++ }
  }

  /** `reading` is what a read found; undefined for a row that is not there. */
  acknowledged(open: OpenOperation, reading: RowReading = new Map()): void {
    this.#acknowledged++
    this.#add(open, reading, this.#clock++)
  }

  /** A refusal that promises to have had no effect. */
  refused(): void {
    this.#refused++
  }

  unknown(open: OpenOperation): void {
    this.#unknown++
    // A read without an answer says nothing.
    if (open.change.size > 0) this.#add(open, new Map(), Infinity)
  }

  #add(open: OpenOperation, reading: RowReading, returnedAt: number): void {
    const history = this.#histories.get(open.hashKey) ?? []
    this.#histories.set(open.hashKey, history)
    const { process, invokedAt, change } = open
    history.push({ process, invokedAt, returnedAt, change, reading })
  }
}

export type { OpenOperation }
