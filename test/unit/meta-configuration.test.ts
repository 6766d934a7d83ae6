/**
 * The meta leader's rules as transcripts: configuration changes, cure, lost partitions, config sync
 * (meta-server.md 6.8, 8, 9, 10, 11; scenarios of meta-invariants.md 4 are named in brackets).
 */
import t from 'tap'
import { AppStatus } from '../../cluster/protocol/layer2.ts'
import { MetaFunctionLevel } from '../../cluster/protocol/meta-admin.ts'
import { PartitionStatus, type ReplicaInfo } from '../../cluster/protocol/metadata.ts'
import { Scene } from './meta-scene.ts'

function table(options = {}, level?: number): Scene {
  const scene = new Scene(options, level).alive('r1', 'r2', 'r3')
  scene.create('t')
  return scene
}

void t.test('a fresh partition gets a primary, then one secondary after the other', (t) => {
  const scene = new Scene().alive('r1', 'r2', 'r3')
  t.same(scene.create('t'), [
    'store /apps/1 AS_AVAILABLE',
    'store {0,-,[]}',
    'answer ERR_OK table 1',
    'propose to r1 ASSIGN_PRIMARY r1 {0,-,[]}',
  ])
  t.same(scene.update('ASSIGN_PRIMARY', 'r1', '{1,r1,[]}'), [
    'store {1,r1,[]}',
    'answer ERR_OK {1,r1,[]}',
    'propose to r1 ADD_SECONDARY r2 {1,r1,[]}',
  ])
  t.same(scene.update('UPGRADE_TO_SECONDARY', 'r2', '{2,r1,[r2]}'), [
    'store {2,r1,[r2]}',
    'answer ERR_OK {2,r1,[r2]}',
    'propose to r1 ADD_SECONDARY r3 {2,r1,[r2]}',
  ])
  t.same(scene.update('UPGRADE_TO_SECONDARY', 'r3', '{3,r1,[r2,r3]}'), [
    'store {3,r1,[r2,r3]}',
    'answer ERR_OK {3,r1,[r2,r3]}',
  ])
  t.same(scene.check(), [], 'healthy: nothing to do')
  t.end()
})

void t.test('a proposal is repeated, the same one, until it is decided [L1, P3]', (t) => {
  const scene = table()
  for (let round = 0; round < 3; round++)
    t.same(scene.check(), ['propose to r1 ASSIGN_PRIMARY r1 {0,-,[]}'])
  scene.grow()
  scene.dead('r1')
  for (let round = 0; round < 3; round++)
    t.same(scene.check(), ['propose to r2 UPGRADE_TO_PRIMARY r2 {4,-,[r2,r3]}'])
  t.end()
})

void t.test('an update sent again is answered OK and changes nothing [L1, C10]', (t) => {
  const scene = table().grow()
  t.same(scene.update('UPGRADE_TO_SECONDARY', 'r3', '{3,r1,[r2,r3]}'), [
    'answer ERR_OK {3,r1,[r2,r3]}',
  ])
  t.same(scene.update('UPGRADE_TO_SECONDARY', 'r3', '{3,r1,[r3,r2]}'), [
    'answer ERR_OK {3,r1,[r2,r3]}',
  ])
  t.equal(scene.text(), 'config:{3,r1,[r2,r3]}')
  t.end()
})

void t.test('a ballot that is not the next one is refused with the current configuration', (t) => {
  const scene = table().grow()
  for (const ballot of [0, 1, 2, 3, 5, 100]) {
    const config = `{${ballot},r1,[r2]}`
    t.same(
      scene.update('DOWNGRADE_TO_INACTIVE', 'r3', config),
      ['answer ERR_INVALID_VERSION {3,r1,[r2,r3]}'],
      config,
    )
  }
  t.end()
})

void t.test('unknown partitions are refused and crash nothing [P12]', (t) => {
  const scene = table().grow()
  const base = scene.config()
  for (const pid of [
    { appId: 7, partitionIndex: 0 },
    { appId: 1, partitionIndex: 1 },
    { appId: 1, partitionIndex: -1 },
  ]) {
    const update = { type: 6, node: base.primary, config: { ...base, pid } }
    const [line] = scene.do({ type: 'update', requester: 99, update })
    t.match(line, /^answer ERR_OBJECT_NOT_FOUND/)
  }
  t.end()
})

void t.test('a change that its type does not allow is refused [P12, C4, C5]', (t) => {
  const forged = [
    ['UPGRADE_TO_PRIMARY', 'r2', '{4,r2,[r3]}'],
    ['ASSIGN_PRIMARY', 'r4', '{4,r4,[r2,r3]}'],
    ['UPGRADE_TO_SECONDARY', 'r4', '{4,r1,[r2,r4]}'],
    ['UPGRADE_TO_SECONDARY', 'r3', '{4,r1,[r2,r3]}'],
    ['DOWNGRADE_TO_INACTIVE', 'r3', '{4,r1,[r3]}'],
    ['DOWNGRADE_TO_INACTIVE', 'r4', '{4,r1,[r2,r3]}'],
    ['DOWNGRADE_TO_SECONDARY', 'r2', '{4,-,[r2,r3]}'],
    ['PRIMARY_FORCE_UPDATE_BALLOT', 'r2', '{4,r1,[r2,r3]}'],
    ['PRIMARY_FORCE_UPDATE_BALLOT', 'r1', '{4,r1,[r2]}'],
    ['DROP_PARTITION', 'r1', '{4,-,[]}'],
    ['ADD_SECONDARY', 'r4', '{4,r1,[r2,r3,r4]}'],
    ['REGISTER_CHILD', 'r1', '{4,r1,[r2,r3]}'],
  ] as const
  const scene = table().grow()
  for (const [type, node, config] of forged)
    t.same(
      scene.update(type, node, config),
      ['answer ERR_INVALID_PARAMETERS {3,r1,[r2,r3]}'],
      `${type} ${node} ${config}`,
    )
  t.end()
})

void t.test('each allowed change is decided with the next ballot', (t) => {
  const cases = [
    ['DOWNGRADE_TO_INACTIVE', 'r3', '{4,r1,[r2]}', ['r3']],
    ['DOWNGRADE_TO_INACTIVE', 'r1', '{4,-,[r2,r3]}', ['r1']],
    ['REMOVE', 'r2', '{4,r1,[r3]}', ['r2']],
    ['DOWNGRADE_TO_SECONDARY', 'r1', '{4,-,[r2,r3,r1]}', []],
    ['PRIMARY_FORCE_UPDATE_BALLOT', 'r1', '{4,r1,[r2,r3]}', []],
    ['UPGRADE_TO_SECONDARY', 'r4', '{4,r1,[r2,r3,r4]}', []],
  ] as const
  for (const [type, node, config, drops] of cases) {
    const scene = table().alive('r4').grow()
    t.match(scene.update(type, node, config).slice(0, 2), [
      `store ${config}`,
      `answer ERR_OK ${config}`,
    ])
    t.same(
      scene.config().lastDrops,
      drops.map((name) => `10.0.0.${name.slice(1)}:34801`),
    )
  }
  t.end()
})

void t.test('nothing is in memory or answered before it is stored [S4]', (t) => {
  const scene = table().grow()
  scene.holdWrites = true
  t.same(scene.update('DOWNGRADE_TO_INACTIVE', 'r3', '{4,r1,[r2]}'), ['store {4,r1,[r2]}'])
  t.equal(scene.text(), 'config:{3,r1,[r2,r3]}')
  t.same(scene.update('DOWNGRADE_TO_INACTIVE', 'r3', '{4,r1,[r2]}'), ['silence'], 'sent again')
  t.same(scene.update('DOWNGRADE_TO_INACTIVE', 'r2', '{4,r1,[r3]}'), ['silence'], 'another one')
  t.same(scene.check(), [], 'no cure while a change is in flight')
  t.same(scene.flush()[0], 'answer ERR_OK {4,r1,[r2]}')
  t.equal(scene.text(), 'config:{4,r1,[r2]}')
  t.end()
})

void t.test('a dead primary is taken out and the least loaded secondary upgraded [P1]', (t) => {
  const scene = table().grow()
  t.same(scene.dead('r1'), [
    'store {4,-,[r2,r3]}',
    'propose to r2 UPGRADE_TO_PRIMARY r2 {4,-,[r2,r3]}',
  ])
  t.same(scene.update('UPGRADE_TO_PRIMARY', 'r2', '{5,r2,[r3]}'), [
    'store {5,r2,[r3]}',
    'answer ERR_OK {5,r2,[r3]}',
  ])
  t.same(scene.config().lastDrops, ['10.0.0.1:34801'])
  scene.alive('r1')
  t.same(scene.check(), ['propose to r2 ADD_SECONDARY r1 {5,r2,[r3]}'], 'it is back')
  t.end()
})

void t.test('a primary that dies during its own update is overridden [P2, C9]', (t) => {
  const scene = table().grow()
  scene.holdWrites = true
  scene.update('DOWNGRADE_TO_INACTIVE', 'r3', '{4,r1,[r2]}')
  t.same(scene.dead('r1'), ['silence'], 'who asked gets no answer')
  t.same(scene.sync('r1'), ['sync ERR_BUSY '])
  t.same(scene.flush(1), ['store {5,-,[r2]}'], 'the change in flight first, then on top of it')
  t.same(scene.flush(), ['propose to r2 UPGRADE_TO_PRIMARY r2 {5,-,[r2]}'])
  t.same(scene.update('DOWNGRADE_TO_INACTIVE', 'r3', '{4,r1,[r2]}'), [
    'answer ERR_INVALID_VERSION {5,-,[r2]}',
  ])
  t.end()
})

void t.test('a node that dies while it becomes primary does not stay primary', (t) => {
  const scene = table().grow()
  scene.dead('r1')
  scene.holdWrites = true
  scene.update('UPGRADE_TO_PRIMARY', 'r2', '{5,r2,[r3]}')
  scene.dead('r2')
  t.same(scene.flush(1), ['answer ERR_OK {5,r2,[r3]}', 'store {6,-,[r3]}'])
  t.same(scene.flush(), ['propose to r3 UPGRADE_TO_PRIMARY r3 {6,-,[r3]}'])
  t.end()
})

void t.test('an upgrade candidate that dies is replaced by the other secondary [P4]', (t) => {
  const scene = table().grow()
  scene.dead('r1')
  scene.dead('r2')
  t.same(scene.check(), ['propose to r3 UPGRADE_TO_PRIMARY r3 {4,-,[r2,r3]}'])
  t.same(
    scene.update('UPGRADE_TO_PRIMARY', 'r2', '{5,r2,[r3]}'),
    ['silence'],
    'a dead node does not become primary',
  )
  t.end()
})

void t.test('the loss of a secondary is its primary’s business [P5, P6]', (t) => {
  const scene = table().grow()
  t.same(scene.dead('r3'), ['propose to r1 DOWNGRADE_TO_INACTIVE r3 {3,r1,[r2,r3]}'])
  t.equal(scene.text(), 'config:{3,r1,[r2,r3]}')
  t.same(scene.update('DOWNGRADE_TO_INACTIVE', 'r3', '{4,r1,[r2]}'), [
    'store {4,r1,[r2]}',
    'answer ERR_OK {4,r1,[r2]}',
  ])
  const lonely = table().grow()
  lonely.dead('r1', 'r2')
  t.equal(lonely.text(), 'config:{4,-,[r2,r3]}', 'without a primary a secondary is kept')
  lonely.dead('r3')
  t.same(lonely.check(), [], 'nobody is alive')
  t.same(lonely.alive('r2').check(), ['propose to r2 UPGRADE_TO_PRIMARY r2 {4,-,[r2,r3]}'])
  t.end()
})

void t.test('a lost secondary is waited for, unless it is urgent [L9]', (t) => {
  const scene = table().alive('r4').grow()
  scene.dead('r3')
  t.same(scene.update('DOWNGRADE_TO_INACTIVE', 'r3', '{4,r1,[r2]}').slice(2), [], 'waits')
  t.same(scene.check(), [])
  scene.nowMs += 599_999
  t.same(scene.check(), [])
  scene.nowMs += 1
  t.same(scene.check(), ['propose to r1 ADD_SECONDARY r4 {4,r1,[r2]}'], 'ten minutes have passed')

  const back = table().alive('r4').grow()
  back.dead('r3')
  back.update('DOWNGRADE_TO_INACTIVE', 'r3', '{4,r1,[r2]}')
  back.nowMs += 1000
  t.same(back.alive('r3').check(), ['propose to r1 ADD_SECONDARY r3 {4,r1,[r2]}'], 'it is back')

  const urgent = table().alive('r4').grow()
  urgent.dead('r2', 'r3')
  urgent.update('DOWNGRADE_TO_INACTIVE', 'r3', '{4,r1,[r2]}')
  t.same(
    urgent.update('DOWNGRADE_TO_INACTIVE', 'r2', '{5,r1,[]}').slice(2),
    ['propose to r1 ADD_SECONDARY r4 {5,r1,[]}'],
    'too few replicas for writes: at once',
  )
  t.end()
})

void t.test('one replica too many is removed from the fullest node [L10]', (t) => {
  const scene = table().alive('r4').grow()
  scene.create('u', 1, 1)
  scene.update('ASSIGN_PRIMARY', 'r4', '{1,r4,[]}', '2.0')
  t.same(scene.update('UPGRADE_TO_SECONDARY', 'r4', '{4,r1,[r2,r3,r4]}').slice(2), [
    'propose to r1 REMOVE r4 {4,r1,[r2,r3,r4]}',
  ])
  t.same(scene.update('REMOVE', 'r4', '{5,r1,[r2,r3]}').slice(2), [])
  t.end()
})

void t.test('a learner that gives up is replaced by the next candidate [L3]', (t) => {
  const scene = table().alive('r4')
  scene.update('ASSIGN_PRIMARY', 'r1', '{1,r1,[]}')
  t.same(scene.check(), ['propose to r1 ADD_SECONDARY r2 {1,r1,[]}'])
  scene.sync('r2', { status: PartitionStatus.PS_POTENTIAL_SECONDARY })
  t.same(scene.check(), ['propose to r1 ADD_SECONDARY r2 {1,r1,[]}'], 'it learns')
  scene.sync('r2', { status: PartitionStatus.PS_ERROR })
  t.same(scene.check(), ['propose to r1 ADD_SECONDARY r2 {1,r1,[]}'], 'once more: it has the data')
  scene.sync('r2', { status: PartitionStatus.PS_POTENTIAL_SECONDARY })
  scene.sync('r2', { status: PartitionStatus.PS_ERROR })
  const [line] = scene.check()
  t.match(line, /^propose to r1 ADD_SECONDARY r[234]/)
  scene.dead('r2')
  t.match(scene.check()[0], /ADD_SECONDARY r[34]/, 'a dead learner is replaced')
  t.end()
})

void t.test('at most so many new secondaries per node and round [L11]', (t) => {
  const scene = new Scene({ addSecondaryMaxPerNode: 2 }).alive('r1', 'r2')
  scene.create('t', 6, 2)
  for (let index = 0; index < 6; index++) {
    const node = scene.meta.state.apps.get(1)?.partitions[index]?.proposal?.node ?? ''
    const name = `r${node.split('.')[3]?.split(':')[0] ?? ''}`
    scene.update('ASSIGN_PRIMARY', name, `{1,${name},[]}`, `1.${index}`)
  }
  const adds = scene.check().filter((line) => line.includes('ADD_SECONDARY'))
  t.equal(adds.length, 4)
  t.end()
})

function report(ballot: number, committed: number, prepared: number): Partial<ReplicaInfo> {
  return {
    status: PartitionStatus.PS_INACTIVE,
    ballot,
    lastCommittedDecree: committed,
    lastPreparedDecree: prepared,
  }
}

void t.test('all replicas lost: the better of the last two comes back [P7, P8]', (t) => {
  const lost = (): Scene => {
    const scene = table().grow()
    scene.dead('r3')
    scene.update('DOWNGRADE_TO_INACTIVE', 'r3', '{4,r1,[r2]}')
    scene.dead('r2')
    scene.update('DOWNGRADE_TO_INACTIVE', 'r2', '{5,r1,[]}')
    scene.alive('r9').dead('r1')
    t.equal(scene.text(), 'config:{6,-,[]}')
    scene.check()
    return scene
  }
  {
    const scene = lost()
    t.match(scene.reason(), /r1 is not alive/)
    scene.alive('r1').check()
    t.match(scene.reason(), /r1 has not reported/)
    scene.sync('r1', report(5, 10, 12))
    scene.check()
    t.match(scene.reason(), /r2 is not alive/)
    scene.alive('r2').sync('r2', report(4, 9, 10))
    t.same(scene.check(), ['propose to r1 ASSIGN_PRIMARY r1 {6,-,[]}'])
    t.same(scene.update('ASSIGN_PRIMARY', 'r1', '{7,r1,[]}')[1], 'answer ERR_OK {7,r1,[]}')
  }
  {
    const scene = lost().alive('r1', 'r2')
    scene.sync('r1', report(4, 9, 9))
    scene.sync('r2', report(4, 9, 10))
    t.same(scene.check(), ['propose to r2 ASSIGN_PRIMARY r2 {6,-,[]}'], 'prepared more')
  }
  {
    const scene = lost().alive('r1', 'r2')
    scene.sync('r1')
    scene.sync('r2', report(4, 9, 10))
    t.same(scene.check(), ['propose to r2 ASSIGN_PRIMARY r2 {6,-,[]}'], 'r1 has lost its disk')
  }
  {
    const scene = lost().alive('r1', 'r2')
    scene.sync('r1')
    scene.sync('r2')
    t.same(scene.check(), [])
    t.match(scene.reason(), /neither r1 nor r2/)
  }
  {
    const scene = lost().alive('r1', 'r2')
    scene.sync('r1', report(5, 8, 10))
    scene.sync('r2', report(4, 9, 10))
    const wanted = ['propose to r1 ASSIGN_PRIMARY r1 {6,-,[]}']
    t.same(scene.check(), wanted, 'committed less, but has prepared what the other committed')
  }
  {
    const scene = lost().alive('r1', 'r2')
    scene.sync('r1', report(5, 8, 8))
    scene.sync('r2', report(4, 9, 10))
    t.same(scene.check(), [])
    t.match(scene.reason(), /contradict/)
  }
  {
    const scene = lost().alive('r1', 'r2')
    scene.sync('r1', report(5, 12, 10))
    scene.sync('r2', report(4, 9, 10))
    t.same(scene.check(), [])
    t.match(scene.reason(), /committed 12/)
  }
  {
    const scene = lost().alive('r1', 'r2')
    scene.sync('r1', report(5, 10, 12))
    scene.sync('r2', report(4, 9, 10))
    scene.do({ type: 'node-restarted', node: '10.0.0.1:34801' })
    t.same(scene.check(), [], 'a report from before a restart does not count')
    t.match(scene.reason(), /r1 has not reported/)
  }
  t.end()
})

void t.test('the only replica of a table comes back as it was [P13]', (t) => {
  const scene = new Scene().alive('r1', 'r2')
  scene.create('t', 1, 1)
  scene.update('ASSIGN_PRIMARY', 'r1', '{1,r1,[]}')
  scene.dead('r1')
  t.same(scene.check(), [])
  t.match(scene.reason(), /r1 held the only replica/)
  t.same(scene.alive('r1').check(), ['propose to r1 ASSIGN_PRIMARY r1 {2,-,[]}'])
  t.end()
})

void t.test('config sync: what a node is, and not while it is about to change [G1]', (t) => {
  const scene = table().grow()
  t.same(scene.sync('r9'), ['sync ERR_OBJECT_NOT_FOUND '])
  t.same(scene.sync('r2'), ['sync ERR_OK {3,r1,[r2,r3]}'])
  scene.holdWrites = true
  scene.update('DOWNGRADE_TO_INACTIVE', 'r3', '{4,r1,[r2]}')
  t.same(scene.sync('r3'), ['sync ERR_BUSY '])
  t.same(scene.sync('r2'), ['sync ERR_OK {3,r1,[r2,r3]}'], 'not about this one')
  scene.flush()
  t.same(scene.sync('r3'), ['sync ERR_OK '])
  t.end()
})

void t.test('what may be deleted: nothing but at lively, never the last copy [G2, G3]', (t) => {
  const steady = table().alive('r4').grow()
  const stranger = { ballot: 2, status: PartitionStatus.PS_INACTIVE }
  for (const node of ['r4', 'r5', 'r6']) steady.alive(node).sync(node, stranger)
  t.same(steady.sync('r4', stranger), ['sync ERR_OK '], 'not at steady')

  const lively = table({ maxReservedDroppedReplicas: 0 }, MetaFunctionLevel.fl_lively)
  lively.alive('r4').grow()
  t.same(lively.sync('r4', stranger), ['sync ERR_OK  gc 1.0'])
  t.same(lively.sync('r4', { ...stranger, ballot: 9 }), ['sync ERR_OK '], 'newer than the members')
  const learner = { status: PartitionStatus.PS_POTENTIAL_SECONDARY }
  t.same(lively.sync('r4', learner), ['sync ERR_OK '], 'a learner')
  t.same(lively.sync('r4', { pid: { appId: 77, partitionIndex: 0 } }), ['sync ERR_OK '], 'unknown')
  t.same(lively.sync('r4', { pid: { appId: 1, partitionIndex: 5 } }), ['sync ERR_OK '], 'no such')
  lively.drop('t')
  t.same(lively.sync('r4', stranger), ['sync ERR_OK '], 'dropped, and kept for a week')
  lively.nowMs += 604_801_000
  t.same(lively.sync('r4', stranger), ['sync ERR_OK  gc 1.0'], 'expired')
  t.end()
})

void t.test('too few live nodes freeze the cluster, and it thaws by itself [F8]', (t) => {
  const scene = table({ minLiveNodes: 2, nodeLivePercentage: 50 }).grow()
  t.same(scene.dead('r1', 'r2'), ['store {4,-,[r2,r3]}'], 'primaries are taken out all the same')
  t.same(scene.check(), [], 'but nothing is cured')
  t.same(scene.update('UPGRADE_TO_PRIMARY', 'r3', '{5,r3,[r2]}'), [
    'answer ERR_STATE_FREEZED {4,-,[r2,r3]}',
  ])
  t.same(scene.create('u'), ['answer ERR_STATE_FREEZED table 0'])
  t.match(scene.alive('r2').check(), [/UPGRADE_TO_PRIMARY/])
  t.end()
})

void t.test('at a blind level changes are held back until it rises', (t) => {
  const scene = table().grow()
  scene.do({ type: 'set-level', level: MetaFunctionLevel.fl_blind })
  t.same(scene.dead('r1'), [])
  t.equal(scene.text(), 'config:{3,r1,[r2,r3]}')
  t.same(scene.do({ type: 'set-level', level: MetaFunctionLevel.fl_freezed }), [
    'store {4,-,[r2,r3]}',
  ])
  t.equal(scene.text(), 'config:{4,-,[r2,r3]}')
  t.end()
})

void t.test('a drop ends all membership and answers when everything is stored [A2]', (t) => {
  const scene = table().grow()
  t.same(scene.drop('t'), ['store /apps/1 AS_DROPPED', 'store {4,-,[]}', 'answer ERR_OK'])
  t.same(
    scene.config().lastDrops.map((node) => node.split(':')[0]),
    ['10.0.0.2', '10.0.0.3', '10.0.0.1'],
    'the primary last',
  )
  t.equal(scene.config().partitionFlags, 1)
  t.equal(scene.meta.state.apps.get(1)?.info.status, AppStatus.AS_DROPPED)
  t.same(scene.drop('t'), ['answer ERR_APP_NOT_EXIST'])
  t.match(scene.create('t')[2], 'answer ERR_OK table 2', 'the name is free, ids are not reused')
  t.same(
    scene.check().filter((line) => !line.includes('{0,-,[]}')),
    [],
  )
  t.end()
})

void t.test('a drop waits for the change in flight and overrides it [L6, C9]', (t) => {
  const scene = table().grow()
  scene.holdWrites = true
  scene.update('DOWNGRADE_TO_INACTIVE', 'r3', '{4,r1,[r2]}')
  t.same(scene.drop('t'), ['store /apps/1 AS_DROPPED'])
  t.equal(scene.writes.length, 2)
  const [update, drop] = scene.writes.splice(0)
  if (update === undefined || drop === undefined) throw new Error('two writes')
  scene.writes.push(drop)
  t.same(scene.flush(1), ['silence'], 'the update’s requester loses its answer')
  scene.writes.push(update)
  t.same(scene.flush(), ['store {5,-,[]}', 'answer ERR_OK'])
  t.end()
})

void t.test('requests for a table in between are answered busy', (t) => {
  const scene = new Scene().alive('r1', 'r2', 'r3')
  scene.holdWrites = true
  scene.create('t')
  t.same(scene.create('t'), ['answer ERR_BUSY_CREATING table 0'])
  t.same(scene.drop('t'), ['answer ERR_BUSY_CREATING'])
  scene.flush()
  t.same(scene.create('t'), ['answer ERR_APP_EXIST table 0'])
  scene.drop('t')
  t.same(scene.create('t'), ['answer ERR_BUSY_DROPPING table 0'])
  t.same(scene.drop('t'), ['answer ERR_BUSY_DROPPING'])
  scene.flush()
  t.match(scene.create('t')[0], 'store /apps/2 AS_AVAILABLE')
  t.end()
})

void t.test('tables spread over the nodes, also within one round', (t) => {
  const scene = new Scene().alive('r1', 'r2', 'r3', 'r4')
  const lines = scene.create('t', 8)
  const targets = lines.flatMap((line) => /ASSIGN_PRIMARY (r\d)/.exec(line)?.[1] ?? [])
  t.same(targets.toSorted(), ['r1', 'r1', 'r2', 'r2', 'r3', 'r3', 'r4', 'r4'])
  t.end()
})
