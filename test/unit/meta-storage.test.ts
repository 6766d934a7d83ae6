/**
 * The stored tree of a cluster: its JSON in upstream's form, restore from every state in which a
 * crash can leave it (meta-server.md 3, 4; [E5, E6, E10]), table settings, and the election.
 */
import * as fc from 'fast-check'
import t from 'tap'
import { Election, type ElectionEffect } from '../../cluster/meta/election.ts'
import { envProblem } from '../../cluster/meta/app-envs.ts'
import { Meta } from '../../cluster/meta/meta.ts'
import { brokenInvariants } from '../../cluster/meta/state.ts'
import {
  StoredDataError,
  decodeApp,
  decodeConfig,
  encodeApp,
  encodeConfig,
} from '../../cluster/meta/storage-tree.ts'
import { HostNames } from '../../cluster/meta/wire.ts'
import { AppStatus } from '../../cluster/protocol/layer2.ts'
import { MetaFunctionLevel } from '../../cluster/protocol/meta-admin.ts'
import { Scene, addressOf, sceneOptions, treeOf } from './meta-scene.ts'

const appText =
  '{"status":"app_status::AS_AVAILABLE","app_type":"pegasus","app_name":"temp","app_id":2,' +
  '"partition_count":8,"envs":{"default_ttl":"60"},"is_stateful":1,"max_replica_count":3,' +
  '"expire_second":0,"create_second":1700000000,"drop_second":0,"duplicating":0,' +
  '"init_partition_count":8,"is_bulk_loading":0,"atomic_idempotent":0}'

const configText =
  '{"pid":"2.7","ballot":5,"max_replica_count":3,"primary":"10.0.0.1:34801",' +
  '"secondaries":["10.0.0.2:34801"],"last_drops":["10.0.0.3:34801"],' +
  '"last_committed_decree":12,"partition_flags":0,"hp_primary":"host1:34801",' +
  '"hp_secondaries":["host2:34801"],"hp_last_drops":["host3:34801"]}'

const at = { path: '/apps/2/7', pid: '2.7' }

void t.test('upstream’s form of a table and of a partition is read and written the same', (t) => {
  const app = decodeApp(appText, '/apps/2')
  t.equal(app.status, AppStatus.AS_AVAILABLE)
  t.same([...app.envs], [['default_ttl', '60']])
  t.equal(encodeApp(app), appText)
  const names = new HostNames()
  const config = decodeConfig(configText, at, names)
  t.equal(config.primary, '10.0.0.1:34801')
  t.equal(encodeConfig(config, names), configText, 'host names survive')
  const fresh = encodeConfig({ ...config, primary: '', secondaries: [], lastDrops: [] }, names)
  t.match(fresh, '"primary":"invalid address"')
  t.match(fresh, '"hp_primary":"invalid host_port"')
  t.equal(decodeConfig(fresh, at, names).primary, '')
  t.end()
})

void t.test('older and newer forms are read', (t) => {
  const old = configText.replace(/,"hp_primary".*$/, '}')
  t.equal(decodeConfig(old, at, new HostNames()).primary, '10.0.0.1:34801', 'without hp_*')
  t.equal(
    encodeConfig(decodeConfig(old, at, new HostNames()), new HostNames()),
    configText.replaceAll(/host(\d)/g, '10.0.0.$1'),
    'the address stands for the name',
  )
  for (const flag of ['1', 'true'])
    t.equal(decodeApp(appText.replace('ful":1', `ful":${flag}`), '/').isStateful, true)
  t.equal(decodeApp(appText.replace(',"atomic_idempotent":0', ''), '/').atomicIdempotent, false)
  t.equal(decodeApp(appText.replace('{"status"', '{"later":[1],"status"'), '/').appId, 2)
  t.end()
})

void t.test('what cannot be read says where and why [E10]', (t) => {
  const broken: readonly (readonly [string, RegExp])[] = [
    ['', /\/apps\/2: not JSON/],
    ['[]', /expected an object/],
    [appText.replace('AS_AVAILABLE', 'AS_CREATING'), /AS_CREATING.* cannot be stored/],
    [appText.replace('"app_id":2', '"app_id":"2"'), /app_id: expected a whole number, found "2"/],
    [appText.replace('{"default_ttl":"60"}', '{"a":1}'), /envs: expected an object of texts/],
  ]
  for (const [text, message] of broken)
    t.throws(() => decodeApp(text, '/apps/2'), { name: 'StoredDataError', message })
  t.throws(() => decodeConfig(configText, { path: '/apps/2/6', pid: '2.6' }, new HostNames()), {
    message: /\/apps\/2\/6: holds partition "2.7"/,
  })
  const locked = { root: 'lock', apps: [] }
  const now = { monotonicMs: 0, wallSeconds: 0 }
  t.throws(() => new Meta(sceneOptions, new HostNames(), 400).restore(locked, now), StoredDataError)
  const twice = {
    root: 'unlock',
    apps: [2, 3].map((appId) => ({
      appId,
      text: appText.replace('"app_id":2', `"app_id":${appId}`),
      partitions: new Map<number, string>(),
    })),
  }
  t.throws(() => new Meta(sceneOptions, new HostNames(), 400).restore(twice, now), {
    message: /the name temp is taken/,
  })
  t.end()
})

/** Everything a leader stored, in the order in which the storage acknowledged it. */
function history(act: (scene: Scene) => void): readonly ReadonlyMap<string, string>[] {
  const scene = new Scene().alive('r1', 'r2', 'r3')
  scene.holdWrites = true
  const states: ReadonlyMap<string, string>[] = [new Map()]
  const flush = (): void => {
    while (scene.writes.length > 0) {
      scene.flush(1)
      states.push(new Map(scene.stored))
    }
  }
  const flushing = new Proxy(scene, {
    get: (target, key) => {
      const value: unknown = Reflect.get(target, key, target)
      if (typeof value !== 'function') return value
      return (...given: unknown[]): unknown => {
        const result: unknown = value.apply(target, given)
        flush()
        return result
      }
    },
  })
  act(flushing)
  return states
}

function statusOf(scene: Scene, appId: number): number | undefined {
  return scene.meta.state.apps.get(appId)?.info.status
}

void t.test('a create that was cut off anywhere is completed or was never begun [E5, T2]', (t) => {
  const states = history((scene) => scene.create('t', 4))
  t.equal(states.length, 6)
  for (const [step, stored] of states.entries()) {
    const scene = Scene.after(stored)
    t.equal(statusOf(scene, 1), step === 0 ? undefined : AppStatus.AS_AVAILABLE, `step ${step}`)
    if (step === 0) continue
    t.same(
      Object.fromEntries(scene.stored),
      Object.fromEntries(states.at(-1) ?? []),
      'the same tree',
    )
    t.match(scene.alive('r1', 'r2', 'r3').create('t'), ['answer ERR_APP_EXIST table 0'])
    t.equal(scene.check().length, 4, 'and its partitions are cured')
  }
  t.end()
})

void t.test('a drop that was cut off anywhere is completed or was never begun [E6, T3]', (t) => {
  const states = history((scene) => {
    scene.create('t', 3)
    for (const index of [0, 1, 2]) {
      scene.update('ASSIGN_PRIMARY', 'r1', '{1,r1,[]}', `1.${index}`)
      scene.update('UPGRADE_TO_SECONDARY', 'r2', '{2,r1,[r2]}', `1.${index}`)
    }
    scene.drop('t')
  })
  const dropBegins = states.findIndex((stored) => stored.get('/apps/1')?.includes('AS_DROPPED'))
  for (const [step, stored] of states.entries()) {
    if (step < dropBegins - 1) continue
    const scene = Scene.after(stored)
    const committed = step >= dropBegins
    t.equal(statusOf(scene, 1), committed ? AppStatus.AS_DROPPED : AppStatus.AS_AVAILABLE)
    t.equal(scene.meta.state.names.has('t'), !committed)
    if (!committed) continue
    for (const index of [0, 1, 2]) {
      const { ballot, primary, secondaries, partitionFlags } = scene.config(`1.${index}`)
      t.same([ballot, primary, secondaries, partitionFlags], [3, '', [], 1])
    }
    t.match(scene.alive('r1', 'r2', 'r3').create('t')[0], 'store /apps/2', 'ids go on [T1]')
  }
  t.end()
})

void t.test('any subset of a table’s partitions restores, twice the same [S6]', (t) => {
  const whole = history((scene) => scene.create('t', 8)).at(-1) ?? new Map<string, string>()
  const partitions = [...whole].filter(([path]) => path !== '/apps/1')
  fc.assert(
    fc.property(fc.subarray(partitions), (kept) => {
      const stored = new Map([...whole].filter(([path]) => path === '/apps/1').concat(kept))
      const scene = Scene.after(stored)
      t.same(Object.fromEntries(scene.stored), Object.fromEntries(whole))
      const again = Scene.after(scene.stored)
      t.same(again.lines, [], 'nothing is left to complete')
    }),
    { numRuns: 40 },
  )
  t.end()
})

void t.test('a half recalled table is completed, ballots unchanged', (t) => {
  const scene = new Scene().alive('r1', 'r2', 'r3')
  scene.create('t', 2)
  scene.update('ASSIGN_PRIMARY', 'r1', '{1,r1,[]}', '1.0')
  scene.drop('t')
  const info = scene.stored.get('/apps/1') ?? ''
  scene.stored.set('/apps/1', info.replace('AS_DROPPED', 'AS_AVAILABLE'))
  const next = Scene.after(scene.stored)
  t.equal(statusOf(next, 1), AppStatus.AS_AVAILABLE)
  t.same([next.config('1.0').ballot, next.config('1.0').partitionFlags], [2, 0])
  t.same([next.config('1.1').ballot, next.config('1.1').partitionFlags], [1, 0])
  t.end()
})

void t.test('an unborn child of a split is known, and left alone', (t) => {
  const scene = new Scene().alive('r1', 'r2', 'r3')
  scene.create('t', 2)
  const info = scene.stored.get('/apps/1') ?? ''
  scene.stored.set('/apps/1', info.replace('"partition_count":2', '"partition_count":4'))
  const next = Scene.after(scene.stored).alive('r1', 'r2', 'r3')
  t.equal(next.config('1.3').ballot, -1)
  t.notOk(next.check().some((line) => line.includes('{-1,')))
  t.equal(next.stored.has('/apps/1/3'), false)
  t.end()
})

void t.test('a new leader takes every member for alive, and last drops for candidates', (t) => {
  const scene = new Scene().alive('r1', 'r2', 'r3')
  scene.create('t')
  scene.grow()
  scene.dead('r3')
  scene.update('DOWNGRADE_TO_INACTIVE', 'r3', '{4,r1,[r2]}')
  const next = Scene.after(scene.stored)
  t.same([...next.meta.state.nodes.keys()].toSorted(), [addressOf('r1'), addressOf('r2')])
  t.equal(next.text(), 'config:{4,r1,[r2]}')
  t.same(next.alive('r3', 'r4').check(), ['propose to r1 ADD_SECONDARY r3 {4,r1,[r2]}'])
  t.same(brokenInvariants(next.meta.state), [])
  t.end()
})

void t.test('table settings: values are judged as upstream does', (t) => {
  const fine: readonly (readonly [string, string])[] = [
    ['default_ttl', '0'],
    ['replica.slow_query_threshold', '20'],
    ['replica.write_throttling', '20000*delay*100,30K*reject*200'],
    ['replica.read_throttling_by_size', '10M'],
    ['replica.deny_client_request', 'timeout*write'],
    ['replica.deny_client_request', 'reconfig*client'],
    ['manual_compact.once.target_level', '-1'],
    ['rocksdb.usage_scenario', 'bulk_load'],
    ['rocksdb.write_buffer_size', '16777216'],
    ['manual_compact.disabled', 'TRUE'],
    ['business.info', ''],
  ]
  for (const [key, value] of fine) t.equal(envProblem(key, value), undefined, `${key}=${value}`)
  const bad: readonly (readonly [string, string])[] = [
    ['no.such', '1'],
    ['__proto__', '1'],
    ['default_ttl', '-1'],
    ['default_ttl', '2147483648'],
    ['replica.slow_query_threshold', '19'],
    ['replica.write_throttling', ''],
    ['replica.write_throttling', '99999999999999M*delay*100'],
    ['replica.read_throttling_by_size', '0'],
    ['rocksdb.num_levels', '11'],
    ['rocksdb.write_buffer_size', '16777215'],
    ['manual_compact.once.target_level', '0'],
    ['manual_compact.disabled', 'yes'],
  ]
  for (const [key, value] of bad) t.type(envProblem(key, value), 'string', `${key}=${value}`)
  t.end()
})

void t.test('settings change one after the other, and never undo a drop [T4]', (t) => {
  const scene = new Scene().alive('r1', 'r2', 'r3')
  scene.create('t')
  const set = (requester: number, key: string, value: string): readonly string[] =>
    scene.do({
      type: 'update-envs',
      requester,
      request: { appName: 't', op: 1, keys: [key], values: [value] },
    })
  scene.holdWrites = true
  set(101, 'default_ttl', '5')
  set(102, 'business.info', 'x')
  t.equal(scene.writes.length, 1, 'one write of a table at a time')
  t.same(scene.drop('t'), [])
  t.same(
    set(103, 'default_ttl', '9'),
    ['answer ERR_OK'].slice(1).concat('answer ERR_BUSY_DROPPING'),
  )
  scene.flush()
  const app = decodeApp(scene.stored.get('/apps/1') ?? '', '/apps/1')
  t.equal(app.status, AppStatus.AS_DROPPED)
  t.same(
    [...app.envs],
    [
      ['default_ttl', '5'],
      ['business.info', 'x'],
    ],
  )
  t.end()
})

/** Runs elections against a list of lock nodes, as the service would order them. */
class LockService {
  readonly nodes = new Map<string, string>()
  readonly leaders: string[] = []
  #number = 0

  create(address: string): string {
    const name = `LOCKNODE${String(this.#number++).padStart(10, '0')}`
    this.nodes.set(name, address)
    return name
  }

  /** Until the contender waits or leads; answers what it decided. */
  run(election: Election, self: string, first: readonly ElectionEffect[]): readonly string[] {
    const seen: string[] = []
    const queue = [...first]
    for (let effect = queue.shift(); effect !== undefined; effect = queue.shift()) {
      const name = 'name' in effect ? effect.name : ''
      switch (effect.type) {
        case 'create':
          queue.push(...election.step({ type: 'created', name: this.create(self) }))
          break
        case 'list':
          queue.push(...election.step({ type: 'listed', names: [...this.nodes.keys(), 'other'] }))
          break
        case 'read':
          if (!effect.own) {
            const address = this.nodes.get(name)
            queue.push(...election.step({ type: 'owner-read', name, address }))
          }
          break
        case 'remove':
          this.nodes.delete(name)
          seen.push('removed')
          queue.push(...election.step({ type: 'owner-gone' }))
          break
        case 'leader':
          seen.push(`leader ${effect.address}`)
          break
        case 'granted':
        case 'lost':
          seen.push(effect.type)
      }
    }
    return seen
  }
}

void t.test('the smallest number leads, the others know it [E1]', (t) => {
  const service = new LockService()
  const a = new Election('a:1')
  const b = new Election('b:1')
  t.same(service.run(a, 'a:1', a.step({ type: 'start' })), ['leader a:1', 'granted'])
  t.same(service.run(b, 'b:1', b.step({ type: 'start' })), ['leader a:1'])
  service.nodes.delete('LOCKNODE0000000000')
  t.same(service.run(b, 'b:1', b.step({ type: 'owner-gone' })), [
    'leader ',
    'leader b:1',
    'granted',
  ])
  t.same(a.step({ type: 'own-gone' }), [{ type: 'lost' }])
  t.equal(a.leading, false)
  t.end()
})

void t.test(
  'leftovers of an earlier life are removed, so a quick restart leads at once [E2]',
  (t) => {
    const service = new LockService()
    service.create('a:1')
    service.create('a:1')
    service.create('b:1')
    const a = new Election('a:1')
    t.same(
      service.run(a, 'a:1', a.step({ type: 'start' })),
      ['removed', 'leader ', 'removed', 'leader ', 'leader b:1'],
      'b came before this life of a',
    )
    t.equal(service.nodes.size, 2)
    t.end()
  },
)

void t.test('a lost own node is made anew; strange names are ignored', (t) => {
  const service = new LockService()
  const a = new Election('a:1')
  const effects = a.step({ type: 'created', name: 'LOCKNODE0000000009' })
  t.same(service.run(a, 'a:1', effects), ['leader a:1', 'granted'], 'created again, then granted')
  t.equal(service.nodes.size, 1)
  t.end()
})

void t.test('the lock is granted once, however often the list is read', (t) => {
  const a = new Election('a:1')
  a.step({ type: 'created', name: 'LOCKNODE0000000002' })
  const granted = (): boolean =>
    a.step({ type: 'listed', names: ['LOCKNODE0000000002'] }).some(({ type }) => type === 'granted')
  t.ok(granted())
  t.notOk(granted(), 'a leftover asked twice: by its removal and by its watch')
  t.ok(a.leading)
  t.end()
})

void t.test('the tree of the model is the tree that is read', (t) => {
  const scene = new Scene().alive('r1')
  scene.create('t', 2, 1)
  t.equal(treeOf(scene.stored).apps[0]?.partitions.size, 2)
  t.equal(scene.meta.state.level, MetaFunctionLevel.fl_steady)
  t.end()
})
