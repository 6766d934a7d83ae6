/**
 * Learning, both sides, and the window of mutations behind it: which effects each event has
 * (replica-server.md 7 and 10, replica-invariants.md 4.2).
 */
import fc from 'fast-check'
import t from 'tap'
import { LearnNotifyResponse, LearnType } from '../../cluster/protocol/consensus.ts'
import { PrepareList } from '../../cluster/replica/prepare-list.ts'
import { mutation as m, Script, config } from './replica-script.ts'

void t.test('the primary hands out what a learner lacks (RS 10.2, 10.4)', async (t) => {
  /** Primary with decrees 1 to 20 committed (kept: 11 to 20) and 21 in flight; r3 learns. */
  const learnee = (): { r: Script; signature: bigint } => {
    const r = Script.primary('r2')
    for (let decree = 1; decree <= 21; decree++) {
      r.write(`w${decree}`)
      r.startWrites()
      if (decree === 21) break
      r.logged(decree, 3)
      r.acked('r2', decree, 3)
      r.applied(decree)
    }
    const signature = (3n << 32n) + 1n
    t.strictSame(r.proposal('CT_ADD_SECONDARY', 'r3', config(3, 'r1', 'r2')), [
      `add-learner r3: signature=${signature}`,
    ])
    return { r, signature }
  }

  void t.test(
    'near: cached mutations, and the prepares behind them in the same step',
    async (t) => {
      const { r, signature } = learnee()
      t.strictSame(r.learn(1, 'r3', 17, signature), [
        'answer 1: learn LT_CACHE [18 19 20] committed=20 then prepares from 21',
        'prepare learner r3: 21@3 w21 committed=20',
      ])
      r.logged(21, 3)
      t.strictSame(r.acked('r2', 21, 3), [], 'the learner counts from now on')
      t.strictSame(r.acked('r3', 21, 3), ['apply 21'])
      r.write('next')
      t.match(r.startWrites(), [/^prepare r2: 22@3/, /^prepare learner r3: 22@3/, /^append/])
      t.strictSame(r.unreached('r3', 22, 3), [], 'a learner that fails is forgotten without meta')
      r.applied(21)
      r.logged(22, 3)
      t.strictSame(r.acked('r2', 22, 3), ['apply 22'])
    },
  )

  void t.test(
    'farther: from the log, in one answer when it reaches the commit point',
    async (t) => {
      const { r, signature } = learnee()
      t.strictSame(r.learn(1, 'r3', 8, signature), ['read-log 9..20'])
      const mutations = [9, 10, 11].map((decree) => m(decree, 3))
      t.strictSame(r.do({ type: 'log-read', token: 1, mutations }), [
        'answer 1: learn LT_CACHE [9 10 11 12 13 14 15 16 17 18 19 20] committed=20 then prepares from 21',
        'prepare learner r3: 21@3 w21 committed=20',
      ])
    },
  )

  void t.test('farther than an answer holds: part of the log, without prepares', async (t) => {
    const { r, signature } = learnee()
    r.learn(1, 'r3', 2, signature)
    const mutations = [3, 4, 5].map((decree) => m(decree, 3))
    t.strictSame(r.do({ type: 'log-read', token: 1, mutations }), [
      'answer 1: learn LT_LOG [3 4 5] committed=20',
    ])
  })

  void t.test('not in the log any more: a snapshot', async (t) => {
    const { r, signature } = learnee()
    r.learn(1, 'r3', 0, signature)
    t.strictSame(r.do({ type: 'log-read', token: 1, mutations: [] }), ['open-snapshot for r3'])
    const snapshot = { directory: 'learn/1', decree: 20 }
    t.strictSame(r.do({ type: 'snapshot-opened', token: 1, snapshot }), [
      'answer 1: learn LT_APP [] committed=20',
    ])
  })

  void t.test(
    'a learner ahead of the commit point waits, one ahead of all starts afresh',
    async (t) => {
      const { r, signature } = learnee()
      t.strictSame(r.learn(1, 'r3', 21, signature), ['answer 1: learn ERR_INCONSISTENT_STATE'])
      t.strictSame(r.learn(2, 'r3', 22, signature), ['answer 2: learn LT_INVALID [] committed=20'])
    },
  )

  void t.test('strangers and other attempts are refused; not a primary: later', async (t) => {
    const { r, signature } = learnee()
    t.strictSame(r.learn(1, 'r4', 0, signature), ['answer 1: learn ERR_OBJECT_NOT_FOUND'])
    t.strictSame(r.learn(2, 'r3', 0, 99n), ['answer 2: learn ERR_WRONG_CHECKSUM'])
    r.learn(3, 'r3', 2, signature)
    r.unreached('r2', 21, 3)
    t.strictSame(r.learn(4, 'r3', 0, signature), ['answer 4: learn ERR_INACTIVE_STATE'])
    t.strictSame(r.do({ type: 'log-read', token: 3, mutations: [m(3, 3)] }), [
      'answer 3: learn ERR_INACTIVE_STATE',
    ])
  })

  void t.test('success is told to meta once; repeated news do no harm (scenario 14)', async (t) => {
    const { r, signature } = learnee()
    r.learn(1, 'r3', 17, signature)
    t.strictSame(r.notify(2, 'r3', signature), [
      'answer 2: notified ERR_OK',
      'update-meta CT_UPGRADE_TO_SECONDARY r3 ballot=4 [r1 r2 r3]',
    ])
    t.strictSame(r.notify(3, 'r3', signature), ['answer 3: notified ERR_INACTIVE_STATE'])
    r.metaAnswered('ERR_OK', config(4, 'r1', 'r2 r3'))
    t.match(r.persisted(4), [/^prepare r2: 21@4/, /^prepare r3: 21@4/, /./, /./, /./, /./])
    t.strictSame(r.notify(4, 'r3', signature), ['answer 4: notified ERR_OK'])
    t.equal(r.state(), 'primary ballot=4 applied=20 committed=20 max=21')
  })

  void t.test('no more learners than the group lacks', async (t) => {
    const r = Script.primary()
    t.strictSame(r.proposal('CT_ADD_SECONDARY', 'r4', config(3, 'r1', 'r2 r3')), [])
    t.match(r.proposal('CT_ADD_SECONDARY_FOR_LB', 'r4', config(3, 'r1', 'r2 r3')), [
      /^add-learner r4/,
    ])
  })
})

void t.test('a learner (RS 10.2 to 10.6)', async (t) => {
  const sig = 7n
  void t.test('it marks its data as incomplete before it asks', async (t) => {
    const r = new Script({ ballot: 3 })
    r.do({ type: 'connected' })
    t.strictSame(r.groupCheck(1, 3, 'learner', { signature: sig }), [
      'persist ballot=3 incomplete',
      'answer 1: group-check ERR_OK learner=1',
    ])
    t.strictSame(r.persisted(3, true), ['learn r2: applied=0'])
    t.strictSame(r.groupCheck(2, 3, 'learner', { signature: sig }), [
      'answer 2: group-check ERR_OK learner=1',
    ])
  })

  void t.test('prepares that overtake the answer are put off (scenario 13)', async (t) => {
    const r = Script.learner(2, sig)
    t.strictSame(r.prepare(1, m(5, 3), 'r2', sig), ['answer 1: ack 5@3 ERR_TRY_AGAIN'])
    t.strictSame(r.prepare(2, m(5, 3), 'r2', 8n), ['answer 2: ack 5@3 ERR_INVALID_STATE'])
  })

  void t.test('cache: logged, applied, durable, and only then reported', async (t) => {
    const r = Script.learner(2, sig)
    t.strictSame(
      r.learnAnswered(sig, { mutations: [m(3, 2), m(4, 3)], committed: 4, prepareStart: 5 }),
      ['append 3@2 v3', 'append 4@3 v4', 'apply 3 4'],
    )
    t.strictSame(r.prepare(1, m(5, 3), 'r2', sig), ['append 5@3 v5'])
    r.logged(3, 2)
    r.logged(4, 3)
    t.strictSame(r.applied(4), ['persist ballot=3'])
    t.strictSame(r.logged(5, 3), ['answer 1: ack 5@3 ERR_OK'])
    t.strictSame(r.persisted(3, false), ['notify r2: learner=4'])
    t.equal(r.state(), 'potential-secondary ballot=3 applied=4 committed=4 max=5')
    r.prepare(2, m(5, 4, { committed: 4 }), 'r2')
    t.strictSame(r.persisted(4), ['append 5@4 v5'], 'promoted by the prepare of the new ballot')
    t.equal(r.state(), 'secondary ballot=4 applied=4 committed=4 max=5')
  })

  void t.test('log: the next round follows when the part is applied', async (t) => {
    const r = Script.learner(0, sig)
    const mutations = [m(1, 2), m(2, 2)]
    t.strictSame(r.learnAnswered(sig, { type: LearnType.LT_LOG, mutations, committed: 9 }), [
      'append 1@2 v1',
      'append 2@2 v2',
      'apply 1 2',
    ])
    r.applied(2)
    r.logged(1, 2)
    t.strictSame(r.logged(2, 2), ['learn r2: applied=2'])
  })

  void t.test('app: all data are replaced, then the rounds go on behind them', async (t) => {
    const r = Script.learner(3, sig)
    t.strictSame(r.learnAnswered(sig, { type: LearnType.LT_APP, snapshot: 50, committed: 60 }), [
      'copy-snapshot 50 from r2',
    ])
    t.equal(r.state(), 'potential-secondary ballot=3 applied=0 committed=0 max=0')
    t.strictSame(r.do({ type: 'snapshot-copied', decree: 50, timestampUs: 1 }), [
      'learn r2: applied=50',
    ])
    t.strictSame(r.learnAnswered(sig, { committed: 50, prepareStart: 51 }), ['persist ballot=3'])
  })

  void t.test('a copy that breaks off is asked for again', async (t) => {
    const r = Script.learner(3, sig)
    r.learnAnswered(sig, { type: LearnType.LT_APP, snapshot: 50, committed: 60 })
    t.strictSame(r.do({ type: 'snapshot-failed', reason: 'gone' }), ['timer retry-learn 1000'])
    const timer = { kind: 'retry-learn', signature: sig } as const
    t.strictSame(r.do({ type: 'timer', timer }), ['learn r2: applied=0'])
  })

  void t.test(
    'the primary changes while it copies: the copy ends first (scenario 15)',
    async (t) => {
      const r = Script.learner(3, sig)
      r.learnAnswered(sig, { type: LearnType.LT_APP, snapshot: 50, committed: 60 })
      r.groupCheck(1, 4, 'learner', { signature: 8n, from: 'r3' })
      t.strictSame(r.persisted(4, true), ['answer 1: group-check ERR_OK learner=1'])
      t.strictSame(r.do({ type: 'snapshot-copied', decree: 50, timestampUs: 1 }), [
        'learn r3: applied=50',
      ])
      t.strictSame(r.learnAnswered(sig, { committed: 60, prepareStart: 61 }), [], 'another attempt')
    },
  )

  void t.test('ahead of the group: wiped, with an alarm, never merged (scenario 11)', async (t) => {
    const r = Script.learner(9, sig)
    t.strictSame(r.learnAnswered(sig, { type: LearnType.LT_INVALID, committed: 5 }), [
      'alarm learn-reset',
      'wipe',
    ])
    t.strictSame(r.do({ type: 'wiped' }), ['learn r2: applied=0'])
  })

  void t.test('what the group has not committed yet is waited for (scenario 10)', async (t) => {
    const r = Script.learner(9, sig)
    t.strictSame(r.learnAnswered(sig, { err: 'ERR_INCONSISTENT_STATE' }), [
      'timer retry-learn 1000',
    ])
  })

  void t.test(
    'it tells its success again, until it is promoted or the primary is another',
    async (t) => {
      const r = Script.learner(2, sig)
      r.learnAnswered(sig, { committed: 2, prepareStart: 3 })
      t.strictSame(r.persisted(3, false), ['notify r2: learner=4'])
      const answered = (err: string): string[] =>
        r.do({
          type: 'notify-answered',
          signature: sig,
          error: 'ERR_OK',
          response: LearnNotifyResponse.make({ err, signature: sig }),
        })
      t.strictSame(answered('ERR_INACTIVE_STATE'), ['timer retry-notify 1000'])
      t.strictSame(answered('ERR_OK'), ['timer retry-notify 10000'])
      const timer = { kind: 'retry-notify', signature: sig } as const
      t.strictSame(r.do({ type: 'timer', timer }), ['notify r2: learner=4'])
      t.strictSame(answered('ERR_INVALID_STATE'), [])
      t.match(r.state(), /^inactive for good/)
    },
  )

  void t.test('forgotten by its primary, it waits to be called again', async (t) => {
    const r = Script.learner(9, sig)
    t.strictSame(r.learnAnswered(sig, { err: 'ERR_OBJECT_NOT_FOUND' }), [])
    t.equal(r.state(), 'inactive for good ballot=3 applied=9 committed=9 max=9')
    t.strictSame(r.groupCheck(1, 3, 'learner', { signature: 8n }), [
      'learn r2: applied=9',
      'answer 1: group-check ERR_OK learner=1',
    ])
  })

  void t.test('mutations that do not fit are not taken', async (t) => {
    const r = Script.learner(2, sig)
    t.strictSame(r.learnAnswered(sig, { mutations: [m(4, 3)], committed: 4, prepareStart: 5 }), [
      'timer retry-learn 1000',
    ])
  })

  void t.test('a configuration that counts on an unfinished learner is not obeyed', async (t) => {
    const r = Script.learner(2, sig)
    r.prepare(1, m(5, 4), 'r2')
    t.strictSame(r.persisted(4, true), ['answer 1: ack 5@4 ERR_INVALID_STATE'])
    t.equal(r.state(), 'inactive for good ballot=4 applied=2 committed=2 max=2')
  })
})

void t.test('the prepare list (RS 7)', async (t) => {
  const listWith = (...given: readonly (readonly [number, number])[]): PrepareList<undefined> => {
    const list = new PrepareList<undefined>(10, 0)
    for (const [decree, ballot] of given) {
      const outcome = list.prepare(m(decree, ballot), undefined)
      if (outcome.kind === 'added') outcome.entry.logged = true
    }
    return list
  }
  const decrees = (entries: readonly { mutation: { decree: number } }[]): number[] =>
    entries.map(({ mutation }) => mutation.decree)

  void t.test('it takes nothing further ahead than its window', async (t) => {
    const list = listWith()
    t.equal(list.prepare(m(10, 1), undefined).kind, 'added')
    t.equal(list.prepare(m(11, 1), undefined).kind, 'capacity')
  })

  void t.test('a higher ballot replaces an entry, a lower one never', async (t) => {
    const list = listWith([1, 2])
    t.equal(list.prepare(m(1, 1), undefined).kind, 'conflict')
    const outcome = list.prepare(m(1, 3), undefined)
    t.equal(outcome.kind === 'added' && outcome.replaced?.mutation.ballot, 2)
  })

  void t.test('a hard commit is all or nothing, a soft one stops in time', async (t) => {
    const list = listWith([1, 2], [2, 2], [4, 2])
    t.strictSame(list.commitHard(4), { missing: 3 })
    t.equal(list.committed, 0)
    t.strictSame(decrees(list.commitSoft(4)), [1, 2])
    const falling = listWith([1, 2], [2, 3], [3, 2])
    t.equal(falling.lastPrepared(), 2, 'where ballots fall, an older history begins')
    t.strictSame(decrees(falling.commitSoft(3)), [1, 2])
  })

  void t.test('committed mutations are kept for learners, as many as the window', async (t) => {
    const list = listWith()
    for (let decree = 1; decree <= 25; decree++) list.addCommitted(m(decree, 1), undefined)
    t.equal(list.keptFrom, 16)
    t.equal(list.agreesWithCommitted(m(20, 4)), true, 'the ballot is no content')
    t.equal(list.agreesWithCommitted(m(20, 4, { text: 'other' })), false)
    t.equal(list.agreesWithCommitted(m(12, 4)), undefined)
  })

  void t.test('of large ones only a hash is kept', async (t) => {
    const list = listWith()
    const text = 'x'.repeat(9 * 1024 * 1024)
    for (let decree = 1; decree <= 2; decree++) list.addCommitted(m(decree, 1, { text }), undefined)
    t.equal(list.keptFrom, 2)
    t.equal(list.agreesWithCommitted(m(1, 4, { text })), true)
    t.equal(list.agreesWithCommitted(m(1, 4, { text: 'other' })), false)
    for (let decree = 3; decree <= 11; decree++) list.addCommitted(m(decree, 1), undefined)
    t.equal(list.agreesWithCommitted(m(1, 4)), undefined, 'as long as an entry would have been')
  })

  void t.test('whatever happens, the counters keep their order', async (t) => {
    const operation = fc.oneof(
      fc.record({
        kind: fc.constant('prepare' as const),
        decree: fc.integer({ min: 1, max: 40 }),
        ballot: fc.integer({ min: 1, max: 4 }),
        logged: fc.boolean(),
      }),
      fc.record({
        kind: fc.constantFrom('hard' as const, 'soft' as const),
        decree: fc.integer({ min: 1, max: 40 }),
      }),
    )
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 80 }), (operations) => {
        const list = new PrepareList<undefined>(10, 0)
        const committed: number[] = []
        for (const each of operations) {
          if (each.kind === 'prepare') {
            if (each.decree <= list.committed) continue
            const outcome = list.prepare(m(each.decree, each.ballot), undefined)
            if (outcome.kind === 'added') outcome.entry.logged = each.logged
          } else if (each.kind === 'soft') committed.push(...decrees(list.commitSoft(each.decree)))
          else {
            const outcome = list.commitHard(each.decree)
            if ('committed' in outcome) committed.push(...decrees(outcome.committed))
          }
          if (!(list.keptFrom - 1 <= list.committed)) return false
          if (!(list.committed <= list.lastPrepared())) return false
          if (!(list.lastPrepared() <= list.maxDecree)) return false
          if (list.maxDecree > list.committed + 10) return false
          for (let decree = list.keptFrom; decree <= list.committed; decree++)
            if (list.get(decree) === undefined) return false
        }
        return committed.every((decree, at) => decree === at + 1)
      }),
    )
    t.pass()
  })
})
