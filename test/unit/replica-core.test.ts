/**
 * The replication core, sentence by sentence: which effects each event has (PacificA;
 * replica-server.md 5 to 7, 11 and 12, replica-invariants.md 4.2).
 */
import t from 'tap'
import { mutation as m, MULTI_PUT, Script, address, config, member } from './replica-script.ts'

void t.test('the write path of a primary (RS 5)', async (t) => {
  void t.test(
    'a new partition: the primary is assigned, decided by meta, and then acts',
    async (t) => {
      const r = new Script()
      r.do({ type: 'connected' })
      t.strictSame(r.proposal('CT_ASSIGN_PRIMARY', 'r1', config(0, '')), [
        'update-meta CT_ASSIGN_PRIMARY r1 ballot=1 [r1]',
      ])
      t.equal(r.state(), 'inactive transient ballot=0 applied=0 committed=0 max=0')
      t.strictSame(r.metaAnswered('ERR_OK', config(1, 'r1')), ['persist ballot=1'])
      t.equal(r.replica.readProblem(false), 'ERR_INVALID_STATE', 'not before the ballot is durable')
      t.strictSame(r.persisted(1), ['timer group-check 10000'])
      t.equal(r.state(), 'primary ballot=1 applied=0 committed=0 max=0')
      t.equal(r.replica.readProblem(false), undefined)
      t.equal(r.replica.writeProblem(), 'ERR_NOT_ENOUGH_MEMBER')
    },
  )

  void t.test(
    'a write gets the next decree, is prepared to every secondary and logged',
    async (t) => {
      const r = Script.primary()
      t.strictSame(r.write('a'), ['start-writes-soon'])
      t.strictSame(r.startWrites(), [
        'prepare r2: 1@3 a committed=0',
        'prepare r3: 1@3 a committed=0',
        'append 1@3 a',
      ])
    },
  )

  void t.test(
    'it is committed when logged here and acknowledged by all, in any order',
    async (t) => {
      const steps: readonly (readonly [string, (r: Script) => string[]])[] = [
        ['logged', (r) => r.logged(1, 3)],
        ['r2', (r) => r.acked('r2', 1, 3)],
        ['r3', (r) => r.acked('r3', 1, 3)],
      ]
      for (const order of [
        [0, 1, 2],
        [2, 1, 0],
        [1, 0, 2],
      ]) {
        const r = Script.primary()
        r.write('a')
        r.startWrites()
        const outcomes = order.map((at) => steps[at]?.[1](r))
        t.strictSame(outcomes, [[], [], ['apply 1']], order.join())
        t.equal(r.state(), 'primary ballot=3 applied=0 committed=1 max=1')
      }
    },
  )

  void t.test('the planted mistake commits on a majority', async (t) => {
    const r = Script.primary('r2 r3', { commitRule: 'majority' })
    r.write('a')
    r.startWrites()
    r.logged(1, 3)
    t.strictSame(r.acked('r3', 1, 3), ['apply 1'])
  })

  void t.test('decrees are committed in order', async (t) => {
    const r = Script.primary('r2')
    for (const text of ['a', 'b']) {
      r.write(text)
      r.startWrites()
    }
    r.logged(1, 3)
    r.logged(2, 3)
    t.strictSame(r.acked('r2', 2, 3), [])
    t.strictSame(r.acked('r2', 1, 3), ['apply 1 2'])
  })

  void t.test('one batch at a time is in the engine', async (t) => {
    const r = Script.primary('r2')
    for (const decree of [1, 2, 3]) {
      r.write(`${decree}`, { code: MULTI_PUT })
      r.startWrites()
      r.logged(decree, 3)
    }
    t.strictSame(r.acked('r2', 1, 3), ['apply 1'])
    t.strictSame(r.acked('r2', 2, 3), [])
    t.strictSame(r.acked('r2', 3, 3), [])
    t.strictSame(r.applied(1), ['apply 2 3'])
    t.strictSame(r.applied(3), [])
  })

  void t.test('puts share a mutation, other writes travel alone, order is kept', async (t) => {
    const r = Script.primary('r2')
    r.write('a')
    r.write('b')
    r.write('c', { code: MULTI_PUT })
    r.write('d')
    t.strictSame(
      r.startWrites().filter((line) => line.startsWith('append')),
      ['append 1@3 a+b', 'append 2@3 c'],
      'the last one waits for company while two are in flight',
    )
    r.write('e')
    r.logged(1, 3)
    t.strictSame(r.acked('r2', 1, 3), [
      'apply 1',
      'prepare r2: 3@3 d+e committed=1',
      'append 3@3 d+e',
    ])
  })

  void t.test('no more than the staleness window is in flight', async (t) => {
    const r = Script.primary('r2')
    for (let count = 0; count < 6; count++) r.write(`${count}`, { code: MULTI_PUT })
    t.equal(r.startWrites().filter((line) => line.startsWith('append')).length, 4)
    r.logged(1, 3)
    const more = r.acked('r2', 1, 3).filter((line) => line.startsWith('append'))
    t.strictSame(more, ['append 5@3 4'])
  })

  void t.test('what cannot be admitted is refused and has no effect', async (t) => {
    t.strictSame(Script.secondary().write('a'), ['refuse 1: ERR_INVALID_STATE'])
    t.strictSame(Script.primary('').write('a'), ['refuse 1: ERR_NOT_ENOUGH_MEMBER'])
    const r = Script.primary('r2', { queuedBytesMax: 100 })
    r.write('a')
    t.strictSame(r.write('b'), ['refuse 2: ERR_BUSY'])
  })

  void t.test('a write whose client gave up is not executed', async (t) => {
    const r = Script.primary('r2')
    r.write('a', { deadlineAtMs: 10 })
    r.write('b', { deadlineAtMs: 30 })
    r.nowMs = 20
    t.strictSame(r.startWrites(), [
      'refuse 1: ERR_TIMEOUT',
      'prepare r2: 1@3 b committed=0',
      'append 1@3 b',
    ])
  })
})

void t.test('answers to prepares (RS 5.6)', async (t) => {
  const started = (): Script => {
    const r = Script.primary()
    r.write('a')
    r.startWrites()
    return r
  }
  void t.test(
    'a member that is not ready is asked again, within the time of a prepare',
    async (t) => {
      for (const error of ['ERR_TRY_AGAIN', 'ERR_INACTIVE_STATE']) {
        const r = started()
        t.strictSame(r.acked('r2', 1, 3, error), ['timer resend-prepare 5'])
        const timer = {
          kind: 'resend-prepare',
          to: address('r2'),
          ballot: 3,
          decree: 1,
          firstSentAtMs: 0,
        } as const
        t.strictSame(r.do({ type: 'timer', timer }), ['prepare r2: 1@3 a committed=0'])
        r.nowMs = 2995
        t.match(r.acked('r2', 1, 3, error), [/^update-meta CT_DOWNGRADE_TO_INACTIVE r2/])
      }
    },
  )

  void t.test(
    'a secondary that fails is expelled by meta, and only then the commit goes on',
    async (t) => {
      const r = started()
      r.logged(1, 3)
      r.acked('r3', 1, 3)
      t.strictSame(r.unreached('r2', 1, 3), [
        'update-meta CT_DOWNGRADE_TO_INACTIVE r2 ballot=4 [r1 r3]',
      ])
      t.equal(r.state(), 'inactive transient ballot=3 applied=0 committed=0 max=1')
      t.equal(r.replica.readProblem(false), 'ERR_INVALID_STATE')
      t.strictSame(r.acked('r2', 1, 3), [], 'too late')
      t.strictSame(r.write('b'), ['refuse 2: ERR_INVALID_STATE'])
      t.strictSame(r.metaAnswered('ERR_OK', config(4, 'r1', 'r3')), ['persist ballot=4'])
      t.strictSame(r.persisted(4), [
        'prepare r3: 1@4 a committed=0',
        'append 1@4 a',
        'group-check r3: ballot=4 committed=0',
        'timer group-check 10000',
      ])
      t.strictSame(r.logged(1, 3), [], 'the log record of the old ballot does not count')
      t.strictSame(r.acked('r3', 1, 3), [], 'nor does an acknowledgement of it')
      t.strictSame(r.logged(1, 4), [])
      t.strictSame(r.acked('r3', 1, 4), ['apply 1'])
    },
  )

  void t.test(
    'a broken connection gets a moment, for the peer may only have restarted',
    async (t) => {
      const r = started()
      t.strictSame(r.unreached('r2', 1, 3, 'ERR_SESSION_RESET'), ['timer resend-prepare 50'])
      r.nowMs = 600
      t.match(r.unreached('r2', 1, 3, 'ERR_NETWORK_FAILURE'), [/^update-meta/])
    },
  )

  void t.test(
    'left alone: prepared writes stay, queued ones are refused (scenario 2)',
    async (t) => {
      const r = Script.primary('r2')
      r.write('a', { code: MULTI_PUT })
      r.startWrites()
      r.write('b')
      r.logged(1, 3)
      r.unreached('r2', 1, 3)
      r.metaAnswered('ERR_OK', config(4, 'r1'))
      t.strictSame(r.persisted(4), [
        'append 1@4 a',
        'timer group-check 10000',
        'refuse 2: ERR_NOT_ENOUGH_MEMBER',
      ])
      t.strictSame(r.logged(1, 4), ['apply 1'], 'the only member has it')
    },
  )
})

void t.test('asking the meta server (RS 6.1)', async (t) => {
  const asking = (): Script => {
    const r = Script.primary()
    r.write('a')
    r.startWrites()
    r.unreached('r2', 1, 3)
    return r
  }
  void t.test('the same request is repeated until there is an answer (scenario 3)', async (t) => {
    const r = asking()
    for (let attempt = 0; attempt < 3; attempt++) {
      t.strictSame(r.metaAnswered('ERR_TIMEOUT'), ['timer retry-meta 1000'])
      t.strictSame(r.do({ type: 'timer', timer: { kind: 'retry-meta', attempt: 2 } }), [
        'update-meta CT_DOWNGRADE_TO_INACTIVE r2 ballot=4 [r1 r3]',
      ])
    }
    t.equal(r.state(), 'inactive transient ballot=3 applied=0 committed=0 max=1')
  })

  void t.test(
    'ERR_INVALID_VERSION: the configuration that meta has is adopted (scenario 4)',
    async (t) => {
      const r = asking()
      t.strictSame(r.metaAnswered('ERR_INVALID_VERSION', config(5, 'r3', 'r1')), [
        'persist ballot=5',
      ])
      t.strictSame(
        r.persisted(5),
        ['refuse 1: ERR_TIMEOUT'],
        'the client learns that it is unknown',
      )
      t.equal(r.state(), 'secondary ballot=5 applied=0 committed=0 max=1')
    },
  )

  void t.test('proposals are ignored meanwhile, and answers of an older request too', async (t) => {
    const r = asking()
    t.strictSame(r.proposal('CT_REMOVE', 'r3', config(3, 'r1', 'r2 r3')), [])
    const old = { err: 'ERR_OK', config: config(4, 'r1', 'r2 r3') }
    t.strictSame(
      r.do({ type: 'meta-answered', attempt: 1, error: 'ERR_OK', response: old }).slice(0, 1),
      ['persist ballot=4'],
    )
    t.strictSame(r.persisted(4), [])
    t.equal(r.state(), 'inactive transient ballot=3 applied=0 committed=0 max=1')
  })

  void t.test(
    'without the lease the role is given up, and taken again without learning',
    async (t) => {
      const r = asking()
      t.strictSame(r.do({ type: 'disconnected' }), [])
      t.strictSame(r.metaAnswered('ERR_OK', config(4, 'r1', 'r3')).slice(0, 1), [
        'persist ballot=4',
      ])
      t.strictSame(r.persisted(4), [], 'an answer of before says nothing')
      r.do({ type: 'connected' })
      t.match(r.synced(config(4, 'r1', 'r3')), [/^prepare r3: 1@4/, /^append 1@4/, /./, /./])
      t.equal(r.state(), 'primary ballot=4 applied=0 committed=0 max=1')
    },
  )

  void t.test('a removed member is told, a group is shrunk only by its primary', async (t) => {
    const r = Script.primary()
    t.strictSame(r.proposal('CT_REMOVE', 'r3', config(3, 'r1', 'r2 r3')), [
      'update-meta CT_REMOVE r3 ballot=4 [r1 r2]',
    ])
    r.metaAnswered('ERR_OK', config(4, 'r1', 'r2'))
    t.ok(r.persisted(4).includes('remove r3: ballot=4'))
    t.strictSame(Script.secondary().proposal('CT_REMOVE', 'r3', config(3, 'r2', 'r1 r3')), [])
  })

  void t.test('only a secondary is upgraded to primary', async (t) => {
    t.strictSame(
      Script.secondary().proposal('CT_UPGRADE_TO_PRIMARY', 'r1', config(3, '', 'r1 r3')),
      ['update-meta CT_UPGRADE_TO_PRIMARY r1 ballot=4 [r1 r3]'],
    )
    const fresh = new Script()
    fresh.do({ type: 'connected' })
    t.strictSame(fresh.proposal('CT_UPGRADE_TO_PRIMARY', 'r1', config(0, '', 'r1')), [])
    t.strictSame(Script.learner().proposal('CT_ASSIGN_PRIMARY', 'r1', config(3, '')), [])
  })
})

void t.test('a new primary (RS 6.3)', async (t) => {
  const r = Script.secondary(4)
  r.prepare(1, m(5, 3))
  r.prepare(2, m(7, 3, { committed: 4 }))
  r.logged(5, 3)
  r.logged(7, 3)
  t.strictSame(r.proposal('CT_UPGRADE_TO_PRIMARY', 'r1', config(4, '', 'r1 r3')), [
    'persist ballot=4',
  ])
  t.strictSame(r.persisted(4), ['update-meta CT_UPGRADE_TO_PRIMARY r1 ballot=5 [r1 r3]'])
  r.metaAnswered('ERR_OK', config(5, 'r1', 'r3'))
  t.strictSame(
    r.persisted(5).filter((line) => line.startsWith('prepare')),
    [
      'prepare r3: 5@5 v5 committed=4',
      'prepare r3: 6@5 empty committed=4',
      'prepare r3: 7@5 v7 committed=4',
    ],
    'all above the commit point is prepared again, a hole as an empty write',
  )
  t.equal(r.replica.readProblem(false), 'ERR_INVALID_STATE', 'reads wait')
  for (const decree of [5, 6, 7]) {
    r.logged(decree, 5)
    r.acked('r3', decree, 5)
  }
  t.equal(r.state(), 'primary ballot=5 applied=4 committed=7 max=7')
  t.equal(r.replica.readProblem(false), 'ERR_INVALID_STATE', 'until it is applied')
  r.applied(5)
  r.applied(7)
  t.equal(r.replica.readProblem(false), undefined)
  r.write('new')
  t.match(r.startWrites(), [/^prepare r3: 8@5 new committed=7/, /./])
})

void t.test('the receiving side of prepares (RS 5.5)', async (t) => {
  void t.test('logged, then acknowledged, then committed as the header says', async (t) => {
    const r = Script.secondary()
    t.strictSame(r.prepare(1, m(1, 3)), ['append 1@3 v1'])
    t.strictSame(r.logged(1, 3), ['answer 1: ack 1@3 ERR_OK'])
    t.strictSame(r.prepare(2, m(2, 3)), ['apply 1', 'append 2@3 v2'])
    t.equal(r.state(), 'secondary ballot=3 applied=0 committed=1 max=2')
  })

  void t.test(
    'repeated prepares are answered, once logged and after the commit (scenario 12)',
    async (t) => {
      const r = Script.secondary()
      r.prepare(1, m(1, 3))
      t.strictSame(r.prepare(2, m(1, 3)), [])
      t.strictSame(r.logged(1, 3), ['answer 1: ack 1@3 ERR_OK', 'answer 2: ack 1@3 ERR_OK'])
      t.strictSame(r.prepare(3, m(1, 3)), ['answer 3: ack 1@3 ERR_OK'])
      r.groupCheck(4, 3, 'secondary', { committed: 1 })
      t.strictSame(r.prepare(5, m(1, 3)), ['answer 5: ack 1@3 ERR_OK'])
    },
  )

  void t.test('an older ballot gets no answer', async (t) => {
    t.strictSame(Script.secondary().prepare(1, m(1, 2)), ['answer 1: silence'])
  })

  void t.test('a newer ballot is durable before it is obeyed', async (t) => {
    const r = Script.secondary()
    r.prepare(1, m(1, 3))
    t.strictSame(r.prepare(2, m(1, 4, { text: 'other' }), 'r3'), ['persist ballot=4'])
    t.strictSame(r.logged(1, 3), ['answer 1: ack 1@3 ERR_OK'], 'still under the old one')
    t.strictSame(r.persisted(4), ['append 1@4 other'])
    t.strictSame(r.logged(1, 4), ['answer 2: ack 1@4 ERR_OK'])
    t.strictSame(r.prepare(3, m(2, 3)), ['answer 3: silence'])
  })

  void t.test(
    'a record that became durable under an older ballot is not acknowledged',
    async (t) => {
      const r = Script.secondary()
      r.prepare(1, m(1, 3))
      r.prepare(2, m(2, 4, { committed: 0 }), 'r3')
      r.persisted(4)
      t.strictSame(r.logged(1, 3), ['answer 1: silence'])
    },
  )

  void t.test('prepares may come out of order', async (t) => {
    const r = Script.secondary()
    t.strictSame(r.prepare(2, m(2, 3, { committed: 0 })), ['append 2@3 v2'])
    t.strictSame(r.logged(2, 3), ['answer 2: ack 2@3 ERR_OK'])
    r.prepare(1, m(1, 3))
    r.logged(1, 3)
    t.strictSame(r.prepare(3, m(3, 3)), ['apply 1 2', 'append 3@3 v3'])
  })

  void t.test('inactive: "not yet" when the role may come back, else a refusal', async (t) => {
    const restarted = new Script({ ballot: 3, log: [] })
    t.strictSame(restarted.prepare(1, m(1, 3)), ['answer 1: ack 1@3 ERR_INACTIVE_STATE'])
    restarted.do({ type: 'connected' })
    t.strictSame(restarted.prepare(2, m(1, 3)), ['answer 2: ack 1@3 ERR_INACTIVE_STATE'])
    const incomplete = new Script({ ballot: 3, incomplete: true, log: [] })
    incomplete.do({ type: 'connected' })
    t.strictSame(incomplete.prepare(1, m(1, 3)), ['answer 1: ack 1@3 ERR_INVALID_STATE'])
  })

  void t.test('without its lease a member says "not yet" to a new primary too', async (t) => {
    const r = Script.secondary()
    r.do({ type: 'disconnected' })
    r.prepare(1, m(1, 4), 'r3')
    t.strictSame(r.persisted(4), ['answer 1: ack 1@4 ERR_INACTIVE_STATE'])
  })

  void t.test('other content under a committed decree stops the replica (RS 12.4 d)', async (t) => {
    const r = Script.secondary()
    r.prepare(1, m(1, 3))
    r.logged(1, 3)
    r.groupCheck(2, 3, 'secondary', { committed: 1 })
    t.strictSame(r.prepare(3, m(1, 3, { text: 'other' })), [
      'answer 3: ack 1@3 ERR_INVALID_STATE',
      'alarm content-mismatch',
      'close',
    ])
    t.strictSame(r.prepare(4, m(2, 3)), ['answer 4: silence'])
  })

  void t.test('a committed decree that is missing here stops the replica', async (t) => {
    const r = Script.secondary()
    t.strictSame(r.prepare(1, m(3, 3)), [
      'alarm missing-prepared',
      'close',
      'answer 1: ack 3@3 ERR_INVALID_STATE',
    ])
  })

  void t.test(
    'a code that this version does not know stops the replica only (scenario 36)',
    async (t) => {
      const r = Script.secondary()
      t.strictSame(r.prepare(1, m(1, 3, { code: 'RPC_FROM_THE_FUTURE' })), [
        'answer 1: ack 1@3 ERR_INVALID_STATE',
        'alarm unknown-code',
        'close',
      ])
    },
  )

  void t.test(
    'an engine that falls behind stops the flow of prepares, not the replica',
    async (t) => {
      const r = Script.secondary()
      let answers: string[] = []
      for (let decree = 1; decree <= 21; decree++) {
        answers = r.prepare(decree, m(decree, 3))
        r.logged(decree, 3)
      }
      t.strictSame(answers, ['answer 21: ack 21@3 ERR_TRY_AGAIN'])
    },
  )
})

void t.test('group check (RS 11)', async (t) => {
  const timer = { kind: 'group-check', round: 1 } as const
  void t.test('members learn the commit point; an idle group gets an empty write', async (t) => {
    const r = Script.primary('r2')
    t.match(r.do({ type: 'timer', timer }), [/^group-check r2/, /^timer group-check/])
    t.strictSame(r.do({ type: 'timer', timer }), [
      'group-check r2: ballot=3 committed=0',
      'prepare r2: 1@3 empty committed=0',
      'append 1@3 empty',
      'timer group-check 10000',
    ])
    const old = { kind: 'group-check', round: 0 } as const
    t.strictSame(r.do({ type: 'timer', timer: old }), [], 'a timer of an earlier term')
  })

  void t.test(
    'a secondary that does not answer is expelled, one that says "not yet" is not',
    async (t) => {
      const answer = (error: string): string[] =>
        Script.primary().do({
          type: 'group-check-answered',
          to: address('r2'),
          ballot: 3,
          error,
          response: undefined,
        })
      t.strictSame(answer('ERR_INACTIVE_STATE'), [])
      t.match(answer('ERR_TIMEOUT'), [/^update-meta CT_DOWNGRADE_TO_INACTIVE r2/])
      t.match(answer('ERR_OBJECT_NOT_FOUND'), [/^update-meta CT_DOWNGRADE_TO_INACTIVE r2/])
    },
  )

  void t.test('the receiver: outdated, not yet, committed', async (t) => {
    const r = Script.secondary()
    t.strictSame(r.groupCheck(1, 2, 'secondary'), [
      'answer 1: group-check ERR_VERSION_OUTDATED learner=0',
    ])
    r.prepare(2, m(1, 3))
    r.logged(1, 3)
    t.strictSame(r.groupCheck(3, 3, 'secondary', { committed: 1 }), [
      'apply 1',
      'answer 3: group-check ERR_OK learner=0',
    ])
    r.do({ type: 'disconnected' })
    t.strictSame(r.groupCheck(4, 3, 'secondary', { committed: 1 }), [
      'answer 4: group-check ERR_INACTIVE_STATE learner=0',
    ])
  })
})

void t.test('restart (RS 8.5, 12)', async (t) => {
  void t.test(
    'the engine and the log together: committed is applied, the rest is prepared',
    async (t) => {
      const log = [m(1, 2), m(2, 2), m(3, 2), m(4, 2, { committed: 2 }), m(3, 3, { committed: 2 })]
      const r = new Script({ ballot: 3, applied: 1, log })
      t.strictSame(r.first, ['apply 2'])
      t.equal(r.state(), 'inactive transient ballot=3 applied=1 committed=2 max=4')
      t.equal(r.replica.view().lastPrepared, 3, 'decree 4 has a lower ballot than decree 3')
    },
  )

  void t.test('a hole below the commit point: it must learn', async (t) => {
    const r = new Script({ ballot: 3, applied: 1, log: [m(2, 3), m(4, 3)] })
    t.strictSame(r.first, ['apply 2', 'alarm missing-prepared'])
    t.match(r.state(), /^inactive for good/)
    r.do({ type: 'connected' })
    t.strictSame(r.synced(config(3, 'r2', 'r1 r3')), [])
    t.match(r.synced(config(3, 'r1', 'r2 r3')), [/^update-meta CT_DOWNGRADE_TO_INACTIVE r1/])
  })

  void t.test('a learner that died before it was whole must learn', async (t) => {
    const r = new Script({ ballot: 3, applied: 5, incomplete: true, log: [m(6, 3)] })
    t.equal(r.state(), 'inactive for good ballot=3 applied=5 committed=5 max=5')
    t.match(r.replica.info(5), { ballot: -1, lastCommittedDecree: -1 }, 'and is no candidate')
    r.do({ type: 'connected' })
    t.strictSame(r.proposal('CT_ASSIGN_PRIMARY', 'r1', config(3, '')), [])
  })

  void t.test('a secondary takes its place again under the same ballot', async (t) => {
    const r = new Script({ ballot: 3, applied: 1, log: [m(2, 3)] })
    r.do({ type: 'connected' })
    r.synced(config(3, 'r2', 'r1 r3'))
    t.equal(r.state(), 'secondary ballot=3 applied=1 committed=1 max=2')
    t.strictSame(r.prepare(1, m(2, 3)), ['answer 1: ack 2@3 ERR_OK'])
  })

  void t.test('a primary asks its secondaries, then renews its ballot', async (t) => {
    const r = new Script({ ballot: 3, applied: 1, log: [m(2, 3)] })
    r.do({ type: 'connected' })
    t.strictSame(r.synced(config(3, 'r1', 'r2 r3')), [
      'query-decree r2',
      'query-decree r3',
      'timer handshake-over 1000',
    ])
    const answered = (name: string, lastPrepared: number): string[] =>
      r.do({
        type: 'decree-answered',
        from: address(name),
        ballot: 3,
        error: 'ERR_OK',
        response: { lastPrepared },
      })
    t.strictSame(answered('r2', 2), [])
    t.strictSame(answered('r3', 1), [
      'update-meta CT_PRIMARY_FORCE_UPDATE_BALLOT r1 ballot=4 [r1 r2 r3]',
    ])
    r.metaAnswered('ERR_OK', config(4, 'r1', 'r2 r3'))
    t.match(r.persisted(4).slice(0, 3), [/^prepare r2: 2@4/, /^prepare r3: 2@4/, /^append 2@4/])
  })

  void t.test('a primary that is behind a secondary steps down (scenario 23)', async (t) => {
    const r = new Script({ ballot: 3, applied: 1, log: [m(2, 3)] })
    r.do({ type: 'connected' })
    r.synced(config(3, 'r1', 'r2 r3'))
    t.strictSame(
      r.do({
        type: 'decree-answered',
        from: address('r2'),
        ballot: 3,
        error: 'ERR_OK',
        response: { lastPrepared: 3 },
      }),
      ['alarm lost-tail', 'update-meta CT_DOWNGRADE_TO_INACTIVE r1 ballot=4 [ r2 r3]'],
    )
    r.metaAnswered('ERR_OK', config(4, '', 'r2 r3'))
    r.persisted(4)
    t.match(r.state(), /^inactive for good ballot=4/)
  })

  void t.test('a secondary that does not answer is not waited for', async (t) => {
    const r = new Script({ ballot: 3, log: [] })
    r.do({ type: 'connected' })
    r.synced(config(3, 'r1', 'r2'))
    const timer = { kind: 'handshake-over', ballot: 3 } as const
    t.match(r.do({ type: 'timer', timer }), [/^update-meta CT_PRIMARY_FORCE_UPDATE_BALLOT/])
  })

  void t.test('the configuration moved on without it: it may only learn', async (t) => {
    const r = new Script({ ballot: 3, log: [m(1, 3)] })
    r.do({ type: 'connected' })
    r.do({ type: 'remove', config: member(5, 'r2', 'inactive') })
    r.persisted(5)
    t.equal(r.state(), 'inactive for good ballot=5 applied=0 committed=0 max=1')
  })
})

void t.test('a storage failure ends the replica, and nobody waits for ever', async (t) => {
  const r = Script.primary('r2')
  r.write('a', { code: MULTI_PUT })
  r.startWrites()
  r.write('b')
  t.strictSame(r.do({ type: 'storage-failed', reason: 'EIO' }), [
    'alarm storage-failed',
    'refuse 2: ERR_INVALID_STATE',
    'refuse 1: ERR_TIMEOUT',
    'close',
  ])
  t.strictSame(r.write('c'), ['refuse 3: ERR_OBJECT_NOT_FOUND'])
})
