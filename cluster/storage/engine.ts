/**
 * The storage engine contract: an ordered map of byte keys to byte values. Implementations:
 * RocksDB (`rocksdb.ts`) and memory with the same crash behaviour (`memory.ts`).
 *
 * Atomicity: a batch is applied whole or not at all, also across a crash. Order: the caller keeps at
 * most one `write` in flight per ordering domain; concurrent writes are not ordered. Durability: a
 * batch written with `sync: false` survives the death of the process; after a power cut a prefix of
 * the batches survives. A batch written with `sync: true` is durable when the promise resolves, and
 * so is every batch whose promise resolved before the call.
 *
 * Keys are compared bytewise, unsigned. Operations on a closed engine reject with EngineError
 * `closed`; `close` first ends the iterators that are still open.
 */

export type EngineErrorCode = 'closed' | 'corruption' | 'io' | 'newer-format' | 'locked'

export class EngineError extends Error {
  override readonly name = 'EngineError'
  readonly code: EngineErrorCode
  constructor(code: EngineErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

export type BatchOperation =
  | { readonly type: 'put'; readonly key: Buffer; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: Buffer }

export interface KeyRange {
  readonly gte?: Buffer
  readonly gt?: Buffer
  readonly lte?: Buffer
  readonly lt?: Buffer
}

export interface IterateOptions extends KeyRange {
  readonly reverse?: boolean
  /** Values come as empty buffers and are not read. */
  readonly keysOnly?: boolean
}

export type Entry = readonly [key: Buffer, value: Buffer]

/** Sees the state of the engine at the time of its creation, however long it lives. */
export interface EngineIterator {
  /**
   * Up to `maxEntries` and about `maxBytes` further entries; an empty array at the end of the range.
   * One call at a time.
   */
  readonly next: (maxEntries: number, maxBytes: number) => Promise<readonly Entry[]>
  readonly close: () => Promise<void>
}

export interface StorageEngine {
  readonly write: (
    batch: readonly BatchOperation[],
    options: { readonly sync: boolean },
  ) => Promise<void>
  readonly get: (key: Buffer) => Promise<Buffer | undefined>
  /** One state of the engine for all keys; order as asked. */
  readonly getMany: (keys: readonly Buffer[]) => Promise<readonly (Buffer | undefined)[]>
  /** The snapshot is taken inside this call. */
  readonly iterate: (options: IterateOptions) => EngineIterator
  /** Rewrites the range so that deleted entries free their space. */
  readonly compactRange: (range: { readonly start: Buffer; readonly end: Buffer }) => Promise<void>
  readonly approximateSizeBytes: (range: {
    readonly start: Buffer
    readonly end: Buffer
  }) => Promise<number>
  /** Figures for metrics, by name. */
  readonly stats: () => Readonly<Record<string, number>>
  readonly close: () => Promise<void>
}
