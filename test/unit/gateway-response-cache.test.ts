/** C-2: when an answer may be given again, and to whom. */
import t from 'tap'
import { KnownQuery, blockOf } from '../../gateway/clients/known-queries.ts'
import { ResponseCache } from '../../gateway/clients/response-cache.ts'
import type { Lookup } from '../../gateway/routing/table-entry.ts'

const lookup: Lookup = { kind: 'invalid' }
const query = new KnownQuery('temp', blockOf(Buffer.from('a')), true)
const frame = Buffer.from('answer')

void t.test('C-2: within its time, to others, as long as the route is the same', (t) => {
  const cache = new ResponseCache(100)
  t.equal(cache.find(query, 'a', lookup, 1000), undefined, 'nothing yet')
  cache.keep(query, frame, lookup, 1010)
  t.same(cache.find(query, 'b', lookup, 1020), frame)
  t.equal(cache.find(query, 'c', { kind: 'invalid' }, 1030), undefined, 'another route')
  const other = new KnownQuery('temp', blockOf(Buffer.from('b')), false)
  t.equal(cache.find(other, 'd', lookup, 1040), undefined, 'another query')
  t.same(cache.find(query, 'e', lookup, 1109), frame)
  t.equal(cache.find(query, 'f', lookup, 1110), undefined, 'its time is over')
  t.end()
})

void t.test('C-2: who asks again for the table within the time gets none', (t) => {
  const cache = new ResponseCache(100)
  cache.find(query, 'a', undefined, 1000)
  cache.keep(query, frame, lookup, 1090)
  t.equal(cache.find(query, 'a', lookup, 1099), undefined, 'in the same period')
  t.equal(cache.find(query, 'a', lookup, 1150), undefined, 'in the next one')
  const part = new KnownQuery('temp', blockOf(Buffer.from('b')), false)
  cache.find(part, 'b', lookup, 1155)
  t.equal(cache.find(query, 'b', lookup, 1160), undefined, 'other indices are the same table')
  cache.keep(query, frame, lookup, 2000)
  t.same(cache.find(query, 'a', lookup, 2001), frame, 'long after')
  t.end()
})

void t.test('C-2: what is kept is a copy, and bounded', (t) => {
  const cache = new ResponseCache(100)
  const bytes = Buffer.from('first')
  cache.keep(query, bytes, lookup, 1000)
  bytes.fill(0)
  t.same(cache.find(query, 'a', lookup, 1001), Buffer.from('first'))
  const big = Buffer.alloc(5 << 20)
  const queries = Array.from(
    { length: 5 },
    (_, index) => new KnownQuery(`t${index}`, blockOf(bytes), true),
  )
  for (const one of queries) cache.keep(one, big, lookup, 1002)
  const kept = queries.filter((one) => cache.find(one, 'b', lookup, 1003) !== undefined)
  t.equal(kept.length, 3, '16 MB in all')
  for (let client = 0; client < 20_000; client++) cache.find(query, `c${client}`, lookup, 1004)
  t.equal(cache.find(query, 'last', lookup, 1005), undefined, 'too many to remember: asked anew')
  t.end()
})
