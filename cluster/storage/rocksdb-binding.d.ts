/**
 * What this project uses of rocksdb 5.2.1: the functions of its native binding, without the
 * abstract-leveldown layer above them (which clones every batch and hands out entries one by one).
 * The binding checks nothing: every call needs an open context, and `rocksdb.ts` sees to that.
 */
declare module 'rocksdb/binding.js' {
  /** A database; one context serves one open and one close. */
  export interface Context {
    readonly brand: 'rocksdb context'
  }
  /** An iterator; it holds its snapshot from `iterator_init` to `iterator_end` or `db_close`. */
  export interface IteratorContext {
    readonly brand: 'rocksdb iterator'
  }

  /** All optional in the binding; sizes in bytes. */
  export interface OpenOptions {
    readonly createIfMissing?: boolean
    readonly compression?: boolean
    readonly cacheSize?: number
    readonly writeBufferSize?: number
    readonly blockSize?: number
    readonly maxOpenFiles?: number
  }

  export interface IteratorOptions {
    readonly gte?: Buffer
    readonly gt?: Buffer
    readonly lte?: Buffer
    readonly lt?: Buffer
    readonly reverse?: boolean
    readonly values?: boolean
    readonly fillCache?: boolean
    /** About how many bytes one `iterator_next` returns at most; never more than 1000 entries. */
    readonly highWaterMark?: number
  }

  export type Operation =
    | { readonly type: 'put'; readonly key: Buffer; readonly value: Buffer }
    | { readonly type: 'del'; readonly key: Buffer }

  type Done = (error: Error | null) => void

  interface Binding {
    db_init(): Context
    db_open(context: Context, location: string, options: OpenOptions, done: Done): void
    /** Ends open iterators and waits for calls under way. */
    db_close(context: Context, done: Done): void
    /** An absent key is an error whose message begins with `NotFound`. */
    db_get(
      context: Context,
      key: Buffer,
      options: { readonly fillCache?: boolean },
      done: (error: Error | null, value: Buffer) => void,
    ): void
    db_get_many(
      context: Context,
      keys: readonly Buffer[],
      options: { readonly fillCache?: boolean },
      done: (error: Error | null, values: (Buffer | undefined)[]) => void,
    ): void
    /** Copies keys and values before it returns. */
    batch_do(
      context: Context,
      operations: readonly Operation[],
      options: { readonly sync: boolean },
      done: Done,
    ): void
    /** Bounds of zero length count as absent. */
    iterator_init(context: Context, options: IteratorOptions): IteratorContext
    /** `entries` is value, key, value, key … in reverse order of the iteration. */
    iterator_next(
      iterator: IteratorContext,
      done: (error: Error | null, entries: Buffer[], finished: boolean) => void,
    ): void
    iterator_end(iterator: IteratorContext, done: Done): void
    db_approximate_size(
      context: Context,
      start: Buffer,
      end: Buffer,
      done: (error: Error | null, sizeBytes: number) => void,
    ): void
    db_compact_range(context: Context, start: Buffer, end: Buffer, done: Done): void
    /** Synchronous; '' for an unknown name. */
    db_get_property(context: Context, name: string): string
  }

  const binding: Binding
  export default binding
}
