/** The simulation's checkers on hand-made histories: what they accept and what they catch. */
import t from 'tap'
import { acknowledgedByAll } from '../../cluster/simulation/checkers/acknowledged-by-all.ts'
import { ballotPersistent } from '../../cluster/simulation/checkers/ballot-persistent.ts'
import type { MakeChecker } from '../../cluster/simulation/checkers/checker.ts'
import { committedStable } from '../../cluster/simulation/checkers/committed-stable.ts'
import { convergenceGaps, waitsForOperator } from '../../cluster/simulation/checkers/converges.ts'
import { durableSurvives } from '../../cluster/simulation/checkers/durable-survives.ts'
import { leaseDisjoint } from '../../cluster/simulation/checkers/lease-disjoint.ts'
import {
  checkLinearizable,
  describeHistory,
  type KeyOperation,
} from '../../cluster/simulation/checkers/linearizable.ts'
import { onePrimaryPerBallot } from '../../cluster/simulation/checkers/one-primary-per-ballot.ts'
import type { ReplicaTraceEvent } from '../../cluster/replica/trace.ts'
import { seededRandom } from '../../cluster/runtime/simulated-random.ts'

type Row = Readonly<Record<string, string | undefined>>

function write(invokedAt: number, returnedAt: number, rows: Row): KeyOperation {
  const change = new Map(Object.entries(rows))
  return { process: 'c', invokedAt, returnedAt, change, reading: new Map() }
}

function read(invokedAt: number, returnedAt: number, rows: Row): KeyOperation {
  const reading = new Map(Object.entries(rows))
  return { process: 'c', invokedAt, returnedAt, change: new Map(), reading }
}

function verdictOf(...operations: KeyOperation[]): string {
  return checkLinearizable(operations, 100_000).verdict
}

void t.test('a history that some order explains is linearizable', (t) => {
  t.equal(verdictOf(), 'linearizable')
  t.equal(
    verdictOf(write(0, 1, { a: 'x' }), read(2, 3, { a: 'x' }), read(4, 5, { a: 'x' })),
    'linearizable',
  )
  t.equal(
    verdictOf(write(0, 5, { a: 'x' }), read(1, 2, { a: undefined }), read(3, 4, { a: 'x' })),
    'linearizable',
    'the write takes effect between the reads',
  )
  t.equal(
    verdictOf(
      write(0, 9, { a: 'x' }),
      write(1, 8, { a: 'y' }),
      read(2, 3, { a: 'y' }),
      read(4, 5, { a: 'x' }),
    ),
    'linearizable',
  )
  t.end()
})

void t.test('stale, lost and torn reads are violations', (t) => {
  t.equal(verdictOf(write(0, 1, { a: 'x' }), read(2, 3, { a: undefined })), 'violated', 'lost')
  t.equal(
    verdictOf(write(0, 9, { a: 'x' }), read(1, 2, { a: 'x' }), read(3, 4, { a: undefined })),
    'violated',
    'back in time',
  )
  t.equal(
    verdictOf(
      write(0, 1, { a: 'x', b: 'x' }),
      write(2, 9, { a: 'y', b: 'y' }),
      read(3, 4, { a: 'y', b: 'x' }),
    ),
    'violated',
    'torn',
  )
  t.equal(verdictOf(read(0, 1, { a: 'never written' })), 'violated')
  t.equal(
    verdictOf(write(0, 1, { a: 'x' }), write(2, 3, { a: undefined }), read(4, 5, { a: 'x' })),
    'violated',
    'a removed row came back',
  )
  t.end()
})

void t.test('an unknown write may take effect at any later time, once, or never', (t) => {
  const lost = write(0, Infinity, { a: 'u' })
  t.equal(verdictOf(lost, read(1, 2, { a: undefined })), 'linearizable')
  t.equal(verdictOf(lost, read(1, 2, { a: undefined }), read(3, 4, { a: 'u' })), 'linearizable')
  t.equal(
    verdictOf(
      lost,
      read(1, 2, { a: 'u' }),
      write(3, 4, { a: 'x' }),
      read(5, 6, { a: 'x' }),
      read(7, 8, { a: 'u' }),
    ),
    'violated',
    'twice',
  )
  t.equal(
    verdictOf(read(1, 2, { a: 'u' }), write(3, Infinity, { a: 'u' })),
    'violated',
    'before it was asked for',
  )
  t.end()
})

/** Runs operations against one copy, with calls and answers at random distances around the effect. */
function honestHistory(seed: number, count: number): KeyOperation[] {
  const random = seededRandom(seed)
  const state = new Map<string, string | undefined>()
  return Array.from({ length: count }, (_, index) => {
    const atMs = index + random.float() * 0.5
    const [from, to] = [atMs - random.exponential(2), atMs + random.exponential(2)]
    const row = random.pick(['a', 'b'])
    if (random.chance(0.5)) return read(from, to, { [row]: state.get(row) })
    const value = random.chance(0.2) ? undefined : `v${index}`
    state.set(row, value)
    return write(from, random.chance(0.1) ? Infinity : to, { [row]: value })
  })
}

void t.test('histories of one honest copy are linearizable; a changed answer is found', (t) => {
  let found = 0
  for (let seed = 0; seed < 200; seed++) {
    const history = honestHistory(seed, 40)
    const verdict = checkLinearizable(history, 1_000_000)
    if (verdict.verdict !== 'linearizable') t.fail(describeHistory(history).join('\n'))
    const at = history.findIndex((operation) => operation.change.size === 0)
    const changed = history.with(at, read(1e6, 1e6 + 1, { a: `v${seed % 40}`, b: 'no' }))
    if (checkLinearizable(changed, 1_000_000).verdict === 'violated') found++
  }
  t.equal(found, 200)
  t.end()
})

void t.test('a search without end is undecided', (t) => {
  const operations = Array.from({ length: 40 }, (_, i) => write(i, 100 + i, { a: `v${i}` }))
  const contradiction = read(200, 201, { a: 'v1', b: 'x' })
  t.equal(checkLinearizable([...operations, contradiction], 10_000).verdict, 'undecided')
  t.end()
})

/** Events as `[node, event]` on one partition; answers what was reported. */
function reports(make: MakeChecker, events: readonly (readonly [string, ReplicaTraceEvent])[]) {
  const messages: string[] = []
  const checker = make((message) => messages.push(message))
  const gpid = { appId: 1, partitionIndex: 0 }
  for (const [node, event] of events) checker.observe({ node, gpid, atMs: 0, event })
  return messages
}

function primary(node: string, ballot: number, secondaries: string[]): ReplicaTraceEvent {
  return {
    type: 'configured',
    status: 'primary',
    transient: false,
    ballot,
    primary: node,
    secondaries,
  }
}

function proposed(ballot: number, decree: number, hash: bigint): ReplicaTraceEvent {
  return {
    type: 'proposed',
    ballot,
    decree,
    hash,
    timestampUs: decree,
    committed: 0,
    replayed: false,
  }
}

function committed(decree: number, hash: bigint, timestampUs = decree): ReplicaTraceEvent {
  return { type: 'committed', ballot: 1, decree, hash, timestampUs, status: 'secondary' }
}

void t.test('two primaries or two configurations under one ballot are caught', (t) => {
  t.same(
    reports(onePrimaryPerBallot, [
      ['a', proposed(1, 1, 1n)],
      ['b', proposed(2, 2, 2n)],
      ['b', { type: 'read-served', ballot: 2, applied: 1 }],
    ]),
    [],
  )
  t.match(
    reports(onePrimaryPerBallot, [
      ['a', proposed(2, 1, 1n)],
      ['b', { type: 'read-served', ballot: 2, applied: 1 }],
    ]),
    [/1\.0 ballot 2: b acts as primary \(read-served\), so did a/],
  )
  t.match(
    reports(onePrimaryPerBallot, [
      ['a', primary('a', 2, ['b', 'c'])],
      ['a', primary('a', 2, ['c', 'b'])],
      ['a', primary('a', 2, ['b'])],
    ]),
    [/configuration a \[b\], earlier a \[b c\]/],
  )
  t.end()
})

void t.test('changed content, a reused decree and timestamps that do not rise are caught', (t) => {
  t.same(
    reports(committedStable, [
      ['a', committed(1, 1n)],
      ['b', committed(1, 1n)],
      ['b', proposed(2, 1, 1n)],
      ['b', committed(2, 2n)],
    ]),
    [],
  )
  t.match(
    reports(committedStable, [
      ['a', committed(1, 1n)],
      ['b', committed(1, 2n)],
    ]),
    [/b committed content 2, but a committed 1/],
  )
  t.match(
    reports(committedStable, [
      ['a', committed(1, 1n)],
      ['b', proposed(2, 1, 2n)],
    ]),
    [/b proposed content 2/],
  )
  t.match(
    reports(committedStable, [
      ['a', committed(1, 1n, 10)],
      ['a', committed(2, 1n, 10)],
    ]),
    [/timestamp 10 is not behind 10/],
  )
  t.end()
})

void t.test('an acknowledgement that a member does not hold is caught', (t) => {
  const logged: ReplicaTraceEvent = { type: 'logged', ballot: 1, decree: 5, hash: 1n }
  const acknowledged: ReplicaTraceEvent = { type: 'write-acknowledged', ballot: 1, decree: 5 }
  const start: readonly (readonly [string, ReplicaTraceEvent])[] = [
    ['a', primary('a', 1, ['b', 'c'])],
    ['a', logged],
    ['b', logged],
  ]
  t.same(reports(acknowledgedByAll, [...start, ['c', logged], ['a', acknowledged]]), [])
  t.same(
    reports(acknowledgedByAll, [
      ...start,
      ['c', { type: 'applied', decree: 6 }],
      ['a', acknowledged],
    ]),
    [],
  )
  t.match(reports(acknowledgedByAll, [...start, ['a', acknowledged]]), [
    /decree 5 ballot 1: a write-acknowledged, c does not hold it/,
  ])
  t.end()
})

void t.test('a primary that serves after its successor is caught', (t) => {
  const served = (ballot: number): ReplicaTraceEvent => ({
    type: 'read-served',
    ballot,
    applied: 1,
  })
  const acknowledged: ReplicaTraceEvent = { type: 'write-acknowledged', ballot: 2, decree: 5 }
  t.same(
    reports(leaseDisjoint, [
      ['a', served(1)],
      ['b', acknowledged],
      ['b', served(2)],
    ]),
    [],
  )
  t.match(
    reports(leaseDisjoint, [
      ['b', acknowledged],
      ['a', served(1)],
    ]),
    [/a read-served under ballot 1 after b acknowledged under ballot 2/],
  )
  t.end()
})

void t.test('a forgotten ballot is caught, a wiped replica may forget', (t) => {
  const logged: ReplicaTraceEvent = { type: 'logged', ballot: 4, decree: 1, hash: 1n }
  const recovered: ReplicaTraceEvent = { type: 'recovered', ballot: 3, applied: 0, lastPrepared: 0 }
  t.match(
    reports(ballotPersistent, [
      ['a', logged],
      ['a', recovered],
    ]),
    [/1\.0 on a: recovered with ballot 3, logged under 4/],
  )
  t.same(
    reports(ballotPersistent, [
      ['a', logged],
      ['a', { type: 'closed', cleared: true }],
      ['a', recovered],
    ]),
    [],
  )
  t.end()
})

void t.test('a decree that was durable and is gone after a restart is caught', (t) => {
  const logged: ReplicaTraceEvent = { type: 'logged', ballot: 4, decree: 9, hash: 1n }
  const durable: ReplicaTraceEvent = { type: 'durable', decree: 5 }
  const recovered = (applied: number, lastPrepared: number): ReplicaTraceEvent => ({
    type: 'recovered',
    ballot: 4,
    applied,
    lastPrepared,
  })
  const committed: ReplicaTraceEvent = {
    type: 'committed',
    ballot: 4,
    decree: 8,
    hash: 1n,
    timestampUs: 1,
    status: 'secondary',
  }
  const start = [
    ['a', committed],
    ['a', logged],
    ['a', durable],
  ] as const
  const holeBelow = [['a', logged] as const, ['a', recovered(5, 5)] as const]
  t.same(reports(durableSurvives, holeBelow), [], 'behind a hole nothing is promised')
  t.same(reports(durableSurvives, [...start, ['a', recovered(5, 9)]]), [])
  t.match(reports(durableSurvives, [...start, ['a', recovered(4, 9)]]), [/up to 4, but 5/])
  t.match(reports(durableSurvives, [...start, ['a', recovered(5, 8)]]), [/up to 8, but 9/])
  const wiped: ReplicaTraceEvent = { type: 'wiped', applied: 5 }
  t.same(reports(durableSurvives, [...start, ['a', wiped], ['a', recovered(0, 0)]]), [])
  t.end()
})

void t.test('gaps: missing primary, too few members, unequal data', (t) => {
  const member = (node: string, digest: string) => ({ node, gpid: '1.0', digest, rowCount: 3 })
  const partition = (primary: string, ...secondaries: string[]) => [
    { gpid: '1.0', ballot: 7, primary, secondaries, wantedCount: 3, lastDrops: [] },
  ]
  const members = [member('a', 'x'), member('b', 'x'), member('c', 'x')]
  t.same(convergenceGaps(partition('a', 'b', 'c'), members), [])
  t.match(convergenceGaps(partition(''), members), [/no primary/])
  t.match(convergenceGaps(partition('a', 'b'), members), [/2 of 3 members/])
  t.match(convergenceGaps(partition('a', 'b', 'd'), members), [/secondary d holds nothing/])
  t.match(convergenceGaps(partition('a', 'b', 'c'), [...members.slice(0, 2), member('c', 'y')]), [
    /c \(3 rows\) differs from a \(3 rows\)/,
  ])
  t.end()
})

void t.test('a lost partition waits for an operator only when its last two contradict', (t) => {
  const lost = {
    gpid: '1.0',
    ballot: 9,
    primary: '',
    secondaries: [],
    wantedCount: 2,
    lastDrops: ['a', 'b'],
  }
  const positions = (a: number[], b: number[]) => (node: string) => {
    const [ballot = 0, committed = 0, prepared = 0] = node === 'a' ? a : b
    return { ballot, committed, prepared }
  }
  t.ok(waitsForOperator(lost, positions([6, 39, 39], [7, 38, 38])))
  t.notOk(waitsForOperator(lost, positions([6, 39, 39], [7, 38, 39])), 'has prepared it')
  t.notOk(waitsForOperator(lost, positions([6, 38, 39], [7, 38, 38])))
  t.notOk(waitsForOperator(lost, positions([6, 37, 39], [7, 38, 38])))
  t.notOk(waitsForOperator({ ...lost, secondaries: ['b'] }, positions([6, 39, 39], [7, 38, 38])))
  t.notOk(waitsForOperator({ ...lost, lastDrops: ['a'] }, positions([6, 39, 39], [7, 38, 38])))
  t.end()
})
