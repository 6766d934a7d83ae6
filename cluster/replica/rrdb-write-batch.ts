/**
 * The engine batch that an apply call builds from several mutations, with what it has already
 * changed visible to the read-modify-write operations behind (replica-server.md 9.3). Time is that
 * of the mutation, never the local clock, so that every member of the group stores the same
 * (replica-server.md 14.2, 14.4).
 */
import { encodeValue, makeTimetag, pegasusSeconds } from '../protocol/value.ts'
import type { BatchOperation } from '../storage/engine.ts'
import { type VisibleRecord, liveRecord } from './rrdb-record.ts'

/** No duplication is configured: records carry cluster id 0. */
const CLUSTER_ID = 0

export interface MutationTime {
  readonly decree: number
  readonly timestampUs: number
}

export class WriteBatch {
  readonly #operations: BatchOperation[] = []
  /** Stored bytes of the keys that some operation reads, kept up to date; latin1 text of the key. */
  readonly #readable = new Map<string, Buffer | undefined>()
  readonly #defaultTtlSeconds: number
  #decree = 0
  #nowSeconds = 0
  #timetag = 0n

  constructor(defaultTtlSeconds: number) {
    this.#defaultTtlSeconds = defaultTtlSeconds
  }

  get operations(): readonly BatchOperation[] {
    return this.#operations
  }

  /** Of the mutation under way. */
  get decree(): number {
    return this.#decree
  }

  /** What `keys` hold before the batch. Only these keys can be read. */
  load(keys: readonly Buffer[], stored: readonly (Buffer | undefined)[]): void {
    for (const [index, key] of keys.entries()) this.#readable.set(textOf(key), stored[index])
  }

  /** The operations that follow belong to this mutation. */
  beginMutation({ decree, timestampUs }: MutationTime): void {
    this.#decree = decree
    this.#nowSeconds = pegasusSeconds(timestampUs / 1000)
    this.#timetag = makeTimetag(timestampUs, CLUSTER_ID)
  }

  /** The live record at the mutation's time, earlier operations of the batch included. */
  read(key: Buffer): VisibleRecord | undefined {
    return liveRecord(this.#readable.get(textOf(key)), this.#nowSeconds)
  }

  /** Expiry 0 means never, or the table's default time to live when there is one. */
  put(key: Buffer, data: Uint8Array, expireTsSeconds: number): void {
    const expiry =
      expireTsSeconds === 0 && this.#defaultTtlSeconds > 0
        ? this.#nowSeconds + this.#defaultTtlSeconds
        : expireTsSeconds
    const value = encodeValue({ expireTsSeconds: expiry, timetag: this.#timetag, data })
    this.#operations.push({ type: 'put', key, value })
    this.#note(key, value)
  }

  remove(key: Buffer): void {
    this.#operations.push({ type: 'del', key })
    this.#note(key, undefined)
  }

  #note(key: Buffer, value: Buffer | undefined): void {
    if (this.#readable.size === 0) return
    const text = textOf(key)
    if (this.#readable.has(text)) this.#readable.set(text, value)
  }
}

function textOf(key: Buffer): string {
  return key.toString('latin1')
}
