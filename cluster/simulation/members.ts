/** What the members of a partition hold, read from their engines, to be compared with each other. */
import { crc32 } from 'node:zlib'
import type { Gpid } from '../protocol/base.ts'
import { storePrefix, dataRange } from '../storage/store-keys.ts'
import type { StorageEngine } from '../storage/engine.ts'
import type { MemberView } from './checkers/converges.ts'

/** Undefined when the engine does not answer, such as when it was closed meanwhile. */
export async function memberView(
  node: string,
  gpid: Gpid,
  engine: StorageEngine,
): Promise<MemberView> {
  const iterator = engine.iterate(dataRange(storePrefix(gpid), {}))
  let rowCount = 0
  let digest = 0
  for (;;) {
    const entries = await iterator.next(1000, 1 << 20)
    if (entries.length === 0) break
    rowCount += entries.length
    for (const [key, value] of entries) digest = crc32(value, crc32(key, digest))
  }
  await iterator.close()
  const text = `${gpid.appId}.${gpid.partitionIndex}`
  return { node, gpid: text, digest: digest.toString(16), rowCount }
}
