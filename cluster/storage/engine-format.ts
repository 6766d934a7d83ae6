/**
 * The mark that every engine carries in its own key space: which version of the on-disk layout the
 * data has. Keys that begin with eight 0xFF bytes belong to the engine; callers' keys begin with a
 * gpid, whose table id never has all bits set, so the two cannot meet.
 */
import { EngineError } from './engine.ts'
import type { BatchOperation, IterateOptions, KeyRange } from './engine.ts'

/** Version 1: keys prefixed by gpid, meta keys of replica-server.md 9.3. */
export const ENGINE_FORMAT = 1

/** Callers never see keys from here on. */
export const ENGINE_RESERVED_KEY = Buffer.alloc(8, 0xff)

const FORMAT_KEY = Buffer.concat([ENGINE_RESERVED_KEY, Buffer.from('format')])

interface RawAccess {
  readonly get: (key: Buffer) => Promise<Buffer | undefined>
  readonly write: (
    batch: readonly BatchOperation[],
    options: { readonly sync: boolean },
  ) => Promise<void>
}

/**
 * Marks a fresh engine, accepts one of this or an older layout, and rejects with EngineError
 * `newer-format` when a later release wrote it. `what` names the engine in messages.
 */
export async function checkEngineFormat(engine: RawAccess, what: string): Promise<void> {
  const stored = await engine.get(FORMAT_KEY)
  if (stored === undefined) {
    const value = Buffer.alloc(4)
    value.writeUInt32BE(ENGINE_FORMAT)
    await engine.write([{ type: 'put', key: FORMAT_KEY, value }], { sync: true })
    return
  }
  if (stored.length !== 4)
    throw new EngineError(
      'corruption',
      `${what}: format mark of ${stored.length} bytes, expected 4`,
    )
  const format = stored.readUInt32BE(0)
  if (format > ENGINE_FORMAT)
    throw new EngineError(
      'newer-format',
      `${what} has data format ${format}, this release knows formats up to ${ENGINE_FORMAT}: ` +
        'start the newer release that wrote it',
    )
}

/** The same range without the engine's own keys. */
export function callersRange(options: IterateOptions): IterateOptions {
  const upper = options.lt ?? options.lte
  if (upper !== undefined && Buffer.compare(upper, ENGINE_RESERVED_KEY) < 0) return options
  const bounded: { -readonly [K in keyof IterateOptions]: IterateOptions[K] } = { ...options }
  delete bounded.lte
  bounded.lt = ENGINE_RESERVED_KEY
  return bounded
}

/** Whether a range holds no key at all, whatever is stored. */
export function isEmptyRange(range: KeyRange): boolean {
  const lower = range.gte ?? range.gt
  const upper = range.lte ?? range.lt
  if (upper === undefined) return false
  if (upper.length === 0) return true
  if (lower === undefined) return false
  const order = Buffer.compare(lower, upper)
  if (order !== 0) return order > 0
  return range.gte === undefined || range.lte === undefined
}
