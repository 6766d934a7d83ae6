/**
 * Questions to a fleet through ZooKeeper (gateway.md L-5), on memory coordination: who answers, who is
 * named, what is limited, and that nothing is left behind by whoever dies in between.
 */
import t from 'tap'
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import { MemoryCoordination } from '../../cluster/coordinator/memory.ts'
import { silentLog } from '../../cluster/runtime/log.ts'
import { nodeRuntime } from '../../cluster/runtime/node.ts'
import { ControlTree } from '../../gateway/admin/control-tree.ts'
import { FleetAsker } from '../../gateway/admin/fleet-asker.ts'
import { ApiError } from '../../gateway/admin/problem.ts'
import { DrainWish, drainPath } from '../../gateway/routing/drain-wish.ts'
import {
  type FleetQuestion,
  PLACES,
  QUESTION_NODE,
  encodeQuestion,
  placePath,
} from '../../gateway/routing/fleet-questions.ts'
import { QuestionWatch } from '../../gateway/routing/question-watch.ts'
import { until } from '../support/gateway-world.ts'

t.setTimeout(60_000)

const controlRoot = '/control'

interface Member {
  readonly id: string
  readonly coordinator: Coordinator
  readonly asker: FleetAsker
  /** Questions that it was asked. */
  readonly asked: FleetQuestion[]
  readonly watch: QuestionWatch
}

function startFleet(
  t: { teardown: (end: () => Promise<void>) => unknown },
  ids: readonly string[],
  answer: (id: string, question: FleetQuestion) => Promise<unknown> = async (id) => ({ id }),
) {
  const alive = setInterval(() => undefined, 1000)
  const runtime = nodeRuntime({ log: silentLog })
  const memory = new MemoryCoordination(runtime)
  const connect = (name: string): Coordinator =>
    memory.connect(runtime, { sessionTimeoutMs: 30_000, onExpiry: 'renew', name })
  const members = ids.map((id): Member => {
    const coordinator = connect(id)
    const asked: FleetQuestion[] = []
    const own = (question: FleetQuestion): Promise<unknown> => {
      asked.push(question)
      return answer(id, question)
    }
    const tree = new ControlTree(coordinator, controlRoot)
    const parts = { runtime, coordinator, tree, selfId: () => id, answer: own }
    return {
      id,
      coordinator,
      asked,
      asker: new FleetAsker({ ...parts, gateways: () => ids }),
      watch: new QuestionWatch(runtime, coordinator, { controlRoot, id, answer: own }),
    }
  })
  const editor = connect('editor')
  t.teardown(async () => {
    for (const { asker, watch, coordinator } of members) {
      asker.close()
      watch.close()
      await coordinator.close()
    }
    await editor.close()
    clearInterval(alive)
  })
  const left = async (): Promise<readonly string[]> => {
    const places = Array.from({ length: PLACES }, (_, place) => placePath(controlRoot, place))
    const found = places.map((path) => editor.children(path).catch(() => []))
    return (await Promise.all(found)).flat()
  }
  return { runtime, memory, members, editor, left, connect }
}

const clients = (table: string): FleetQuestion => ({ kind: 'clients', table })

void t.test('everybody answers, oneself too, and nothing stays', async (t) => {
  const { members, left } = startFleet(t, ['a', 'b', 'c'])
  const [a, b, c] = members
  const found = await a?.asker.ask(clients('temp'))
  t.same(Object.fromEntries(found?.answers ?? []), {
    a: { id: 'a' },
    b: { id: 'b' },
    c: { id: 'c' },
  })
  t.same(found?.silent, [])
  t.same(b?.asked, [clients('temp')])
  await until(async () => (await left()).length === 0)
  const one = await a?.asker.ask({ kind: 'gateway', gateway: 'c' })
  t.same([...(one?.answers.keys() ?? [])], ['c'], 'a question to one is answered by that one')
  t.equal(b?.asked.length, 1)
  t.equal(c?.asked.length, 2)
})

void t.test('many ask at once, the same and other things, from all sides', async (t) => {
  const { members, left } = startFleet(t, ['a', 'b', 'c'])
  const asking = members.flatMap(({ asker }) =>
    ['t1', 't2', 't1', 't3'].map((table) => asker.ask(clients(table))),
  )
  for (const { answers, silent } of await Promise.all(asking)) {
    t.equal(answers.size + silent.length, 3)
    for (const { reason } of silent) t.match(reason, /too many questions|no answer within/)
  }
  for (const { asked, id } of members) t.ok(asked.length <= 9, `${id} answered equal ones once`)
  await until(async () => (await left()).length === 0)
})

void t.test('who is silent is named, and so is who fails to answer', async (t) => {
  const { members } = startFleet(t, ['a', 'b', 'c'], async (id) => {
    if (id === 'b') await new Promise((resolve) => void setTimeout(resolve, 3000))
    return id === 'c' ? undefined : { id }
  })
  const [a] = members
  const found = await a?.asker.ask(clients('temp'))
  t.same([...(found?.answers.keys() ?? [])], ['a'])
  t.match(
    found?.silent.toSorted((x, y) => (x.id < y.id ? -1 : 1)),
    [
      { id: 'b', reason: 'no answer within 1000 ms' },
      { id: 'c', reason: 'no answer' },
    ],
  )
  t.ok((found?.elapsedMs ?? 0) >= 900)
})

void t.test('places are few and questions rare: beyond that one is told so', async (t) => {
  const { members, editor } = startFleet(t, ['a', 'b'])
  const [a, b] = members
  await a?.asker.ask(clients('temp'))
  for (let place = 0; place < PLACES; place++) {
    const path = placePath(controlRoot, place)
    await editor.create(path, Buffer.alloc(0)).catch(() => undefined)
    const question = { id: `x${place}`, asker: 'editor', question: clients('other') }
    await editor.create(`${path}/${QUESTION_NODE}`, encodeQuestion(question), { ephemeral: true })
  }
  const found = await a?.asker.ask(clients('third'))
  t.match(found?.silent, [{ id: 'b', reason: 'too many questions to the fleet at once' }])
  t.same([...(found?.answers.keys() ?? [])], ['a'])
  const codes = new Set<string>()
  for (let n = 0; n < 50; n++)
    try {
      void b?.asker.ask(clients(`t${n}`)).catch(() => undefined)
    } catch (error) {
      codes.add(error instanceof ApiError ? error.code : String(error))
    }
  t.same([...codes], ['too-many-requests'])
})

void t.test('what a dead asker left goes with its session, and answers go with it', async (t) => {
  const { memory, members, connect, left } = startFleet(t, ['a', 'b'])
  const [a] = members
  await a?.asker.ask(clients('temp'))
  await until(async () => (await left()).length === 0)
  const before = new Set(memory.sessionIds())
  const dying = connect('dying')
  const path = placePath(controlRoot, 0)
  await dying.create(path, Buffer.alloc(0)).catch(() => undefined)
  const question = { id: 'dying.1', asker: 'dying', question: clients('temp') }
  await dying.create(`${path}/${QUESTION_NODE}`, encodeQuestion(question), { ephemeral: true })
  await until(async () => (await left()).length === 3)
  t.pass('both have answered')
  const session = memory.sessionIds().find((id) => !before.has(id))
  memory.expire(session ?? 0n)
  await until(async () => (await left()).length === 0)
  await dying.close()
})

void t.test(
  'without ZooKeeper one answers alone; a member of a new session answers again',
  async (t) => {
    const { memory, members, left } = startFleet(t, ['a', 'b'])
    const [a, b] = members
    await a?.asker.ask(clients('temp'))
    memory.setReachable('a', 'down')
    memory.breakConnections('a')
    await until(() => a?.coordinator.state() !== 'connected')
    const alone = await a?.asker.ask(clients('alone'))
    t.same([...(alone?.answers.keys() ?? [])], ['a'])
    t.match(alone?.silent, [{ id: 'b', reason: /ZooKeeper does not answer/ }])
    memory.setReachable('a', 'up')
    await until(() => a?.coordinator.state() === 'connected')

    const epoch = b?.coordinator.sessionEpoch() ?? 0
    for (const id of memory.sessionIds()) memory.expire(id)
    await until(() => (b?.coordinator.sessionEpoch() ?? 0) > epoch)
    await until(() => a?.coordinator.state() === 'connected')
    let n = 0
    await until(async () => (await a?.asker.ask(clients(`new${n++}`)))?.answers.size === 2)
    await until(async () => (await left()).length === 0)
  },
)

void t.test('a wish to drain is noticed, kept without ZooKeeper, and ends', async (t) => {
  const { runtime, memory, members, editor } = startFleet(t, ['a'])
  const [a] = members
  if (a === undefined) return
  await a.asker.ask(clients('temp'))
  const changes: boolean[] = []
  const options = { controlRoot, id: 'a', onChange: (is: boolean) => void changes.push(is) }
  const wish = new DrainWish(runtime, a.coordinator, options)
  t.teardown(async () => wish.close())
  await editor.create(controlRoot, Buffer.alloc(0)).catch(() => undefined)
  await editor.create(`${controlRoot}/drains`, Buffer.alloc(0)).catch(() => undefined)
  await editor.create(drainPath(controlRoot, 'a'), Buffer.alloc(0))
  await until(() => wish.isWished)
  memory.setReachable('a', 'down')
  memory.breakConnections('a')
  await until(() => a.coordinator.state() !== 'connected')
  t.equal(wish.isWished, true)
  await editor.remove(drainPath(controlRoot, 'a'))
  memory.setReachable('a', 'up')
  await until(() => !wish.isWished)
  t.same(changes, [true, false])
})
