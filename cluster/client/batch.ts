/**
 * Operations over many hash keys: one BATCH_GET per partition, and bounded crowds of single writes.
 * None of them is atomic.
 */
import { StorageStatus } from '../protocol/error-codes.ts'
import { partitionHash, partitionIndexOf } from '../protocol/key.ts'
import { Rpc } from '../protocol/rpc-codes.ts'
import type { FullData } from '../protocol/rrdb.ts'
import type { Budget } from './call.ts'
import type { PartitionMap, Target } from './partition-map.ts'
import { PegasusError, storageError } from './pegasus-error.ts'
import type { TableRouting } from './table-routing.ts'

/** Single writes of one batch under way at a time. */
const WRITES_AT_A_TIME = 64
/** BATCH_GET requests of one batch under way at a time. */
const READS_AT_A_TIME = 32

export interface RecordKey {
  readonly hashKey: Buffer
  readonly sortKey: Buffer
}

/** The partitions became others between grouping and sending: keys would be looked for in vain. */
class Regrouped extends Error {
  override readonly name = 'Regrouped'
}

/** The values in the order of the keys, `undefined` where there is no record. */
export async function batchGet(
  routing: TableRouting,
  keys: readonly RecordKey[],
  budget: Budget,
): Promise<(Buffer | undefined)[]> {
  for (;;) {
    const map = await routing.open(budget)
    try {
      const found = await getGrouped(routing, map, keys, budget)
      return keys.map((key) => found.get(textOf(key)))
    } catch (error) {
      // Bounded by the budget: `open` and each request end with it.
      if (!(error instanceof Regrouped)) throw error
    }
  }
}

async function getGrouped(
  routing: TableRouting,
  map: PartitionMap,
  keys: readonly RecordKey[],
  budget: Budget,
): Promise<Map<string, Buffer>> {
  const { partitionCount } = map
  const groups = new Map<number, { hash: bigint; keys: Map<string, RecordKey> }>()
  for (const key of keys) {
    const hash = partitionHash(key.hashKey, key.sortKey)
    const index = partitionIndexOf(hash, partitionCount)
    const group = groups.get(index) ?? { hash, keys: new Map<string, RecordKey>() }
    groups.set(index, group)
    group.keys.set(textOf(key), key)
  }
  const found = new Map<string, Buffer>()
  await inCrowds([...groups.values()], READS_AT_A_TIME, async (group) => {
    const target = (now: PartitionMap): Target => {
      if (now.partitionCount !== partitionCount) throw new Regrouped()
      return { hash: group.hash }
    }
    const request = { keys: [...group.keys.values()] }
    const data = await routing.call(Rpc.BATCH_GET, request, target, budget, (response) => {
      if (response.error !== StorageStatus.kOk) throw storageError('batchGet', response.error)
      return response.data
    })
    for (const record of data) found.set(textOf(record), record.value)
  })
  return found
}

/** Unambiguous text of both keys. */
function textOf({ hashKey, sortKey }: RecordKey | FullData): string {
  return `${hashKey.length}:${hashKey.toString('latin1')}${sortKey.toString('latin1')}`
}

/**
 * Does all of `items`, also when some fail. Rejects with the first failure's code; `failures` then
 * names every item that failed.
 */
export async function batchWrite<T>(
  what: string,
  items: readonly T[],
  write: (item: T) => Promise<void>,
): Promise<void> {
  const failures = new Map<number, PegasusError>()
  await inCrowds([...items.entries()], WRITES_AT_A_TIME, async ([index, item]) => {
    try {
      await write(item)
    } catch (error) {
      if (!(error instanceof PegasusError)) throw error
      failures.set(index, error)
    }
  })
  const [first] = failures.values()
  if (first === undefined) return
  const isUnknown = [...failures.values()].some((failure) => failure.effect === 'unknown')
  const isPartial = failures.size < items.length
  throw new PegasusError(
    first.code,
    `${what}: ${failures.size} of ${items.length} failed, first: ${first.message}`,
    { effect: isUnknown || isPartial ? 'unknown' : 'none', failures, cause: first },
  )
}

/** Runs `each` over all items, at most `limit` at a time; stops taking items after a rejection. */
async function inCrowds<T>(
  items: readonly T[],
  limit: number,
  each: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0
  let failed = false
  const worker = async (): Promise<void> => {
    while (next < items.length && !failed) {
      const item = items[next++] as T
      try {
        await each(item)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, () => worker()))
}
