/**
 * The pure rules of the client as tables: what a new configuration changes, where a request goes,
 * what is resent, how long the pauses are, which arguments are refused.
 */
import fc from 'fast-check'
import t from 'tap'
import { backoffMs, failureRule } from '../../cluster/client/call.ts'
import {
  bytesOf,
  expireTsOf,
  filterOf,
  hashKeyOf,
  limitOf,
  listOf,
  rangeOf,
} from '../../cluster/client/operation-arguments.ts'
import {
  type PartitionMap,
  doubt,
  mergePartitionMap,
  routeOf,
} from '../../cluster/client/partition-map.ts'
import { PegasusError } from '../../cluster/client/pegasus-error.ts'
import { PartitionConfiguration, QueryCfgResponse } from '../../cluster/protocol/layer2.ts'

/** `[ballot, primary]` by partition index. */
function reply(
  appId: number,
  partitionCount: number,
  entries: readonly (readonly [number, string])[],
): QueryCfgResponse {
  const partitions = entries.map(([ballot, primary], partitionIndex) =>
    PartitionConfiguration.make({ pid: { appId, partitionIndex }, ballot, primary }),
  )
  return QueryCfgResponse.make({ appId, partitionCount, isStateful: true, partitions })
}

function merged(known: PartitionMap | undefined, response: QueryCfgResponse): PartitionMap {
  const map = mergePartitionMap(known, response)
  if (map === undefined) throw new Error('no map')
  return map
}

const primaries = (map: PartitionMap): string[] => map.partitions.map(({ primary }) => primary)

void t.test('an entry yields to one of a ballot not smaller', (t) => {
  const first = merged(undefined, reply(2, 2, [[5, 'a:1'], [5, 'b:1']])) // prettier-ignore
  const second = merged(first, reply(2, 2, [[4, 'x:1'], [6, 'c:1']])) // prettier-ignore
  t.same(primaries(second), ['a:1', 'c:1'])
  t.same(primaries(merged(second, reply(2, 2, [[5, 'd:1']]))), ['d:1', 'c:1'])
  t.same(primaries(first), ['a:1', 'b:1'], 'maps are not changed')
  t.end()
})

void t.test('an entry that is doubted yields to any, and serves until then', (t) => {
  const first = merged(undefined, reply(2, 2, [[5, 'a:1'], [5, 'b:1']])) // prettier-ignore
  const doubted = doubt(first, 0)
  t.equal(routeOf(doubted, { partitionIndex: 0 }).primary, 'a:1')
  const other = merged(doubted, reply(2, 2, [[1, 'x:1'], [1, 'y:1']])) // prettier-ignore
  t.same(primaries(other), ['x:1', 'b:1'])
  t.equal(doubt(first, 9), first)
  t.equal(doubt(doubted, 0), doubted)
  t.end()
})

void t.test('another app id or partition count is another table: everything is replaced', (t) => {
  const first = merged(undefined, reply(2, 2, [[5, 'a:1'], [5, 'b:1']])) // prettier-ignore
  t.same(primaries(merged(first, reply(3, 2, [[1, 'x:1'], [1, 'y:1']]))), ['x:1', 'y:1']) // prettier-ignore
  const split = merged(first, reply(2, 4, [[6, 'a:1'], [6, 'b:1'], [-1, ''], [-1, '']])) // prettier-ignore
  t.equal(split.partitionCount, 4)
  t.same(primaries(merged(split, reply(2, 2, [[1, 'a:1'], [1, 'b:1']]))), ['a:1', 'b:1']) // prettier-ignore
  t.end()
})

void t.test('a reply that describes no table gives no map', (t) => {
  t.equal(mergePartitionMap(undefined, reply(2, 0, [])), undefined)
  t.equal(mergePartitionMap(undefined, reply(0, 8, [])), undefined)
  t.equal(mergePartitionMap(undefined, reply(2, -8, [])), undefined)
  t.equal(mergePartitionMap(undefined, reply(2, 2 ** 31 - 1, [])), undefined)
  t.same(primaries(merged(undefined, reply(2, 2, [[3, 'a:1']]))), ['a:1', ''], 'missing entries')
  t.end()
})

void t.test('a request goes to hash mod count, or to the parent of a child not ready', (t) => {
  const map = merged(undefined, reply(2, 4, [[3, 'a:1'], [3, 'b:1'], [3, 'c:1'], [-1, '']])) // prettier-ignore
  const where = (hash: bigint): readonly unknown[] => {
    const { appId, partitionIndex, partitionHash, primary } = routeOf(map, { hash })
    return [appId, partitionIndex, partitionHash, primary]
  }
  t.same(where(6n), [2, 2, 6n, 'c:1'])
  t.same(where(7n), [2, 1, 7n, 'b:1'])
  t.same(where(2n ** 64n - 1n), [2, 1, 2n ** 64n - 1n, 'b:1'])
  t.same(routeOf(map, { partitionIndex: 3 }).partitionIndex, 3, 'a scan stays with its partition')
  t.end()
})

void t.test('the route is always a partition of the map', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: -1, max: 3 }), { minLength: 1, maxLength: 40 }),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      (ballots, hash) => {
        const map = merged(
          undefined,
          reply(
            2,
            ballots.length,
            ballots.map((ballot) => [ballot, `${ballot}:1`] as const),
          ),
        )
        const { partitionIndex } = routeOf(map, { hash })
        return partitionIndex >= 0 && partitionIndex < ballots.length
      },
    ),
  )
  t.end()
})

interface RuleCase {
  readonly code: string
  readonly effect?: 'none' | 'unknown'
  readonly local?: boolean
  readonly kind?: 'read' | 'write' | 'atomic'
  readonly never?: boolean
  readonly resend: boolean
  readonly refresh: boolean
}

void t.test('what is resent and what asks for a new configuration', (t) => {
  const cases: readonly RuleCase[] = [
    { code: 'ERR_OBJECT_NOT_FOUND', resend: true, refresh: true },
    { code: 'ERR_INVALID_STATE', effect: 'unknown', resend: true, refresh: true },
    { code: 'ERR_PARENT_PARTITION_MISUSED', resend: true, refresh: true },
    { code: 'ERR_SESSION_RESET', local: true, effect: 'unknown', resend: true, refresh: true },
    { code: 'ERR_NETWORK_FAILURE', local: true, resend: true, refresh: true },
    { code: 'ERR_NOT_ENOUGH_MEMBER', resend: true, refresh: false },
    { code: 'ERR_CAPACITY_EXCEEDED', resend: true, refresh: false },
    { code: 'ERR_TIMEOUT', effect: 'unknown', resend: false, refresh: false },
    { code: 'ERR_TIMEOUT', local: true, effect: 'unknown', resend: false, refresh: false },
    { code: 'ERR_BUSY', resend: false, refresh: false },
    { code: 'ERR_BUSY', local: true, resend: false, refresh: false },
    { code: 'ERR_SPLITTING', resend: false, refresh: false },
    { code: 'ERR_DISK_INSUFFICIENT', resend: false, refresh: false },
    { code: 'ERR_OPERATION_DISABLED', resend: false, refresh: false },
    { code: 'ERR_HANDLER_NOT_FOUND', resend: false, refresh: false },
    { code: 'ERR_ABORTED', local: true, effect: 'unknown', resend: false, refresh: false },
    { code: 'ERR_NEVER_HEARD_OF', effect: 'unknown', resend: false, refresh: false },
    // An atomic write whose outcome is unknown is never sent twice, one surely refused is.
    { code: 'ERR_SESSION_RESET', local: true, effect: 'unknown', kind: 'atomic', resend: false, refresh: true }, // prettier-ignore
    { code: 'ERR_NETWORK_FAILURE', local: true, kind: 'atomic', resend: true, refresh: true },
    { code: 'ERR_OBJECT_NOT_FOUND', kind: 'atomic', resend: true, refresh: true },
    // Nor a plain write, when the caller wants it so; reads always are.
    { code: 'ERR_SESSION_RESET', local: true, effect: 'unknown', never: true, resend: false, refresh: true }, // prettier-ignore
    { code: 'ERR_OBJECT_NOT_FOUND', never: true, resend: true, refresh: true },
    { code: 'ERR_SESSION_RESET', local: true, effect: 'unknown', never: true, kind: 'read', resend: true, refresh: true }, // prettier-ignore
  ]
  for (const { code, effect, local, kind, never, resend, refresh } of cases) {
    const error = { code, effect: effect ?? 'none', local: local ?? false } as const
    const rule = failureRule(error, kind ?? 'write', never !== true)
    t.match(
      rule,
      { resend, refresh },
      `${code} ${kind ?? 'write'} ${never === true ? 'never' : ''}`,
    )
    t.equal(rule.effect, kind === 'read' ? 'none' : (effect ?? 'none'))
  }
  t.end()
})

void t.test('pauses double from 20 ms to a second, less up to a half', (t) => {
  t.same(
    [1, 2, 3, 6, 7, 50].map((failures) => backoffMs(failures, 0.999999999)).map(Math.round),
    [20, 40, 80, 640, 1000, 1000],
  )
  t.equal(backoffMs(1, 0), 10)
  t.equal(backoffMs(1000, 0), 500)
  t.end()
})

void t.test('arguments are converted, or refused with what was found', (t) => {
  const refused = { code: 'ERR_INVALID_PARAMETERS', effect: 'none' }
  t.same(bytesOf('ä', 'x'), Buffer.from('ä'))
  t.same(bytesOf(new Uint8Array([1, 2]).subarray(1), 'x'), Buffer.from([2]))
  for (const wrong of [null, undefined, 1, {}] as unknown as string[]) {
    t.throws(() => bytesOf(wrong, 'sort key'), refused)
    t.throws(() => listOf(wrong as unknown as readonly string[], 'keys', (x) => x), refused)
  }
  t.throws(() => hashKeyOf('', { mayBeEmpty: false }), refused)
  t.equal(hashKeyOf('', { mayBeEmpty: true }).length, 0)
  t.equal(hashKeyOf('k'.repeat(65534), { mayBeEmpty: true }).length, 65534)
  t.throws(() => hashKeyOf('k'.repeat(65535), { mayBeEmpty: true }), /65535 bytes, at most 65534/)
  t.throws(() => listOf([], 'keys', (x) => x), /keys is empty/)
  for (const wrong of [-2, 1.5, NaN, 2 ** 31]) t.throws(() => limitOf(wrong, 'maxCount'), refused)
  t.same(
    [-1, 0, 100].map((limit) => limitOf(limit, 'maxCount')),
    [-1, 0, 100],
  )
  t.throws(() => filterOf({ match: 'regex' as 'prefix', pattern: 'x' }), refused)
  t.equal(new PegasusError('ERR_BUSY', 'x').failures, undefined)
  t.end()
})

void t.test('a time to live becomes an absolute expiry', (t) => {
  const refused = { code: 'ERR_INVALID_PARAMETERS' }
  const wallMs = (1451606400 + 1000) * 1000 + 999
  t.equal(expireTsOf(undefined, wallMs), 0)
  t.equal(expireTsOf(0, wallMs), 0)
  t.equal(expireTsOf(60, wallMs), 1060)
  t.equal(expireTsOf(2147483647 - 1000, wallMs), 2147483647)
  for (const wrong of [-1, 0.5, NaN, Infinity, 2147483648 - 1000])
    t.throws(() => expireTsOf(wrong, wallMs), refused)
  t.end()
})

void t.test('an empty range is refused, an open end is none', (t) => {
  const refused = /range of sort keys is empty/
  t.throws(() => rangeOf({ start: 'b', stop: 'a' }), refused)
  t.throws(() => rangeOf({ start: 'a', stop: 'a' }), refused)
  t.throws(() => rangeOf({ start: 'a', stop: 'a', startInclusive: false, stopInclusive: true }), refused) // prettier-ignore
  t.match(rangeOf({ start: 'a', stop: 'a', stopInclusive: true }), { startInclusive: true })
  t.match(rangeOf({ start: 'z', stop: '' }), { startInclusive: true, stopInclusive: false })
  t.equal(rangeOf({}).stop.length, 0)
  t.end()
})
