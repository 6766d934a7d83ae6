/**
 * The process that the engine contract kills: writes numbered batches to a RocksDB engine and tells
 * its parent each one that has settled.
 */
import { openRocksDb } from '../../cluster/storage/rocksdb.ts'

const engine = await openRocksDb({ path: process.argv[2] ?? '' })
for (let number = 0; number < 100_000; number++) {
  const text = String(number)
  await engine.write(
    [
      { type: 'put', key: Buffer.from(`k${text.padStart(8, '0')}`), value: Buffer.alloc(100) },
      { type: 'put', key: Buffer.from('last'), value: Buffer.from(text) },
    ],
    { sync: number % 50 === 0 },
  )
  process.send?.(number)
}
