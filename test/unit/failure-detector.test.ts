/** Lease and grace (meta-server.md 6; F1 to F7 of meta-invariants.md). */
import * as fc from 'fast-check'
import t from 'tap'
import {
  type LeaseEffect,
  MasterGrace,
  WorkerLease,
  failureDetectorDefaults,
  timingProblem,
} from '../../cluster/failure-detector.ts'

const times = failureDetectorDefaults

function worker(metas = ['m1', 'm2']): WorkerLease {
  return new WorkerLease({ times, metas, first: 0 })
}

function ack(sentAtMs: number, given: { readonly to?: string; readonly isMaster?: boolean } = {}) {
  const { to = 'm1', isMaster = true } = given
  return {
    type: 'ack',
    to,
    sentAtMs,
    isMaster,
    allowed: true,
    primary: isMaster ? to : '',
  } as const
}

const kinds = (effects: readonly LeaseEffect[]): readonly string[] =>
  effects.map(({ type }) => type)

void t.test('the times must leave room for a new leader', (t) => {
  const change = { sessionMs: 4000, restoreMs: 500 }
  t.equal(timingProblem(times, change), undefined)
  t.equal(timingProblem(times), undefined)
  t.match(
    timingProblem(times, { ...change, sessionMs: 5000 }),
    /session \(5000 ms\).*the death of a meta leader stops every replica/,
  )
  t.match(
    timingProblem({ ...times, graceMs: 6000 }, change),
    /lease \(6000 ms\) < grace \(6000 ms\)/,
  )
  t.match(timingProblem({ ...times, graceMs: 6000 }), /lease/)
  t.match(timingProblem({ ...times, beaconMs: 5600 }), /a healthy replica server/)
  t.end()
})

void t.test('a worker serves from the first acknowledged beacon to the end of its lease', (t) => {
  const lease = worker()
  t.equal(lease.leaseValid(0), false)
  t.same(lease.step({ type: 'beacon-due' }, 100), [
    { type: 'send-beacon', to: 'm1', sentAtMs: 100, timeoutMs: 667 },
    { type: 'next-beacon', afterMs: 1000 },
  ])
  t.same(lease.step(ack(100), 150), [{ type: 'connected', master: 'm1' }])
  t.equal(lease.leaseValid(6099), true, 'counted from the sending')
  t.equal(lease.leaseValid(6100), false, 'at the use, without any timer')
  t.same(lease.step({ type: 'check' }, 5599), [])
  t.same(kinds(lease.step({ type: 'check' }, 5600)), ['disconnected'], 'one check interval early')
  t.equal(lease.leaseValid(5600), false)
  t.end()
})

void t.test('a lease that ran out during a stall ends before the next one begins [F6]', (t) => {
  const lease = worker()
  lease.step(ack(100), 150)
  t.same(kinds(lease.step(ack(20_000), 20_050)), ['disconnected', 'connected'])
  t.equal(lease.leaseValid(20_050), true)
  t.same(kinds(lease.step(ack(20_500), 40_000)), ['disconnected'], 'an old ack brings nothing back')
  t.end()
})

void t.test('nothing but a newer acknowledgement of the leader extends the lease', (t) => {
  const lease = worker()
  lease.step(ack(1000), 1000)
  for (const event of [
    ack(900),
    ack(1000),
    ack(2000, { to: 'm2' }),
    { type: 'failed', to: 'm2', sentAtMs: 2000 } as const,
  ])
    t.same(lease.step(event, 2500), [])
  t.equal(lease.remainingMs(2500), 4500)
  t.end()
})

void t.test('a worker follows a standby’s hint at once, and tries the next one otherwise', (t) => {
  const lease = worker()
  t.same(lease.step({ ...ack(1, { isMaster: false }), primary: 'm9' }, 2), [
    { type: 'next-beacon', afterMs: 0 },
  ])
  t.equal(lease.master, 'm9')
  t.same(
    lease.step({ type: 'failed', to: 'm9', sentAtMs: 3 }, 700),
    [{ type: 'next-beacon', afterMs: 0 }],
    'it has waited long enough',
  )
  t.equal(lease.master, 'm1')
  t.same(lease.step(ack(800, { isMaster: false }), 850), [{ type: 'next-beacon', afterMs: 200 }])
  t.equal(lease.master, 'm2', 'it knew no leader')
  t.end()
})

void t.test('two standbys that point at each other are not asked in circles', (t) => {
  const lease = worker()
  const hint = (to: string, primary: string, nowMs: number): readonly LeaseEffect[] =>
    lease.step({ type: 'ack', to, sentAtMs: nowMs, isMaster: false, allowed: true, primary }, nowMs)
  t.same(hint('m1', 'm2', 100), [{ type: 'next-beacon', afterMs: 0 }])
  t.same(hint('m2', 'm1', 101), [{ type: 'next-beacon', afterMs: 250 }])
  t.same(hint('m1', 'm2', 352), [{ type: 'next-beacon', afterMs: 0 }])
  t.end()
})

void t.test('a worker that is not allowed stops beaconing', (t) => {
  const lease = worker()
  t.same(kinds(lease.step({ ...ack(1), allowed: false }, 2)), ['refused'])
  t.same(lease.step({ type: 'beacon-due' }, 3), [])
  t.end()
})

void t.test('the master declares death after grace, once, and sees the return', (t) => {
  const grace = new MasterGrace({ times })
  t.equal(grace.beacon('r1', undefined, 0), 'joined')
  t.equal(grace.beacon('r1', undefined, 1000), 'alive')
  for (let nowMs = 1500; nowMs <= 8000; nowMs += 500) t.same(grace.check(nowMs), [])
  t.same(grace.check(8500), ['r1'])
  t.same(grace.check(9000), [])
  t.equal(grace.beacon('r1', undefined, 9100), 'joined')
  t.equal(grace.isAlive('r1'), true)
  t.end()
})

void t.test('a restart before its death is noticed', (t) => {
  const grace = new MasterGrace({ times })
  grace.beacon('r1', 5000, 0)
  t.equal(grace.beacon('r1', 5000, 500), 'alive')
  t.equal(grace.beacon('r1', 9000, 1000), 'restarted')
  t.equal(grace.beacon('r1', 5000, 1500), 'alive', 'an old message')
  t.equal(grace.beacon('r1', 9000, 2000), 'alive')
  t.end()
})

void t.test('a new leader gives every node a full grace period [F2]', (t) => {
  const grace = new MasterGrace({ times })
  grace.beacon('r1', undefined, 0)
  grace.assumeAlive(['r1', 'r2'], 3000)
  for (let nowMs = 500; nowMs <= 7000; nowMs += 500) t.same(grace.check(nowMs), [])
  t.same(grace.check(7500), ['r1'], 'what was heard stays')
  for (let nowMs = 8000; nowMs <= 10_000; nowMs += 500) t.same(grace.check(nowMs), [])
  t.same(grace.check(10_500), ['r2'])
  t.end()
})

void t.test('a stall of the master kills nobody whose beacons wait in the socket [F5]', (t) => {
  const grace = new MasterGrace({ times })
  grace.beacon('r1', undefined, 0)
  grace.beacon('r2', undefined, 0)
  grace.check(500)
  t.same(grace.check(25_500), [], 'first the sockets')
  grace.beacon('r1', undefined, 25_600)
  t.same(grace.check(26_000), ['r2'])
  t.end()
})

void t.test('a flapping node gets no answer until it has run for long [F3]', (t) => {
  const unstable = { minRunningMs: 600_000, maxSuccessiveRestarts: 5 }
  const grace = new MasterGrace({ times, unstable })
  let startMs = 1000
  for (let restart = 0; restart < 5; restart++)
    t.not(grace.beacon('r1', (startMs += 4000), restart * 4000), 'ignored', `${restart} restarts`)
  t.equal(grace.beacon('r1', startMs + 4000, 20_000), 'ignored')
  t.same(grace.unstableNodes(), ['r1'])
  t.equal(grace.beacon('r1', startMs, 30_000), 'ignored', 'an old message changes nothing')
  t.equal(grace.beacon('r1', startMs + 4000, 619_999), 'ignored')
  t.not(grace.beacon('r1', startMs + 4000, 620_000), 'ignored')
  t.same(grace.unstableNodes(), [])
  t.end()
})

void t.test('the white list keeps new nodes out', (t) => {
  const grace = new MasterGrace({ times, whiteList: new Set(['r1']) })
  t.equal(grace.beacon('r1', undefined, 0), 'joined')
  t.equal(grace.beacon('r2', undefined, 0), 'refused')
  t.same(
    grace.nodes().map(({ node }) => node),
    ['r1'],
  )
  t.end()
})

void t.test('whatever is lost or late, a worker stops before it is declared dead [F1, C7]', (t) => {
  const losses = fc.array(
    fc.record({ out: fc.boolean(), back: fc.boolean(), delayMs: fc.nat(3000) }),
    { minLength: 20, maxLength: 60 },
  )
  fc.assert(
    fc.property(losses, fc.nat(499), (plan, phase) => {
      const lease = worker(['m1'])
      const grace = new MasterGrace({ times })
      const events: { readonly atMs: number; readonly run: () => void }[] = []
      let dead = false
      for (const [index, { out, back, delayMs }] of plan.entries()) {
        const sentAtMs = index * times.beaconMs
        if (out) continue
        events.push({
          atMs: sentAtMs + delayMs / 2,
          run: () => {
            grace.beacon('r1', 1, sentAtMs + delayMs / 2)
            dead = false
          },
        })
        if (!back)
          events.push({
            atMs: sentAtMs + delayMs,
            run: () => void lease.step(ack(sentAtMs), sentAtMs + delayMs),
          })
      }
      const endMs = plan.length * times.beaconMs + 10_000
      for (let atMs = phase; atMs < endMs; atMs += times.checkMs)
        events.push({
          atMs,
          run: () => {
            if (grace.check(atMs).length > 0) dead = true
          },
        })
      for (const { atMs, run } of events.toSorted((a, b) => a.atMs - b.atMs)) {
        run()
        if (dead && lease.leaseValid(atMs)) throw new Error(`still serving at ${atMs}`)
      }
    }),
    { numRuns: 200 },
  )
  t.pass('no overlap')
  t.end()
})
