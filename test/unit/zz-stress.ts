import { TestCluster } from './replica-cluster.ts'
const from = Number(process.argv[2] ?? 1), to = Number(process.argv[3] ?? 5)
for (let seed = from; seed <= to; seed++) {
  const cluster = new TestCluster(`stress ${seed}`, process.argv[4] === 'majority' ? 'majority' : 'all')
  const random = cluster.world.random.fork('stress')
  const small = random.chance(0.5) ? { 'mutationLog.segmentBytes': '8KiB', 'mutationLog.reserveBytes': '0' } : {}
  const tiny = random.chance(0.5) ? { 'replica.prepareListMax': '8', 'replica.stalenessMax': '3', 'replica.learnAnswerBytes': '2KiB' } : {}
  const flags = { ...small, ...tiny }
  const began = Date.now()
  let phase = 'start'
  try {
    await cluster.start(random.pick([3, 4]), flags)
    await cluster.createTable('t', 1)
    const table = await cluster.on(cluster.clientNode, () => cluster.client.openTable('t'))
    const acked = new Map<string, Set<string>>() // key -> possible values
    let stopped = false, running = 0, acks = 0, unknowns = 0
    const values = new Map<string, { last: string | undefined; maybe: Set<string> }>()
    const bad: string[] = []
    for (let w = 0; w < 6; w++) {
      running++
      const work = async () => {
        let n = 0
        while (!stopped) {
          const key = `w${w}k${n % 7}`
          const state = values.get(key) ?? { last: undefined, maybe: new Set<string>() }
          values.set(key, state)
          const value = `v${n}`
          try {
            if (n % 3 === 2) {
              const got = await table.get(key, 's')
              const text = got === undefined ? undefined : String(got)
              if (text !== state.last && !(text !== undefined && state.maybe.has(text))) bad.push(`${key}: read ${text}, expected ${state.last} or ${[...state.maybe]} at ${cluster.world.nowMs()}`)
              if (text === state.last && state.maybe.size === 0) acks++
            } else {
              await table.set(key, 's', value)
              state.last = value
              acks++
              // an earlier unknown may still come later in theory; keep maybe
            }
          } catch { unknowns++; if (n % 3 !== 2) state.maybe.add(value) }
          n++
        }
        running--
      }
      cluster.world.after(0, () => cluster.clientNode.perform(cluster.clientNode.incarnation, 'input', () => void work()))
    }
    phase = 'faults'
    const endAt = cluster.world.nowMs() + 20000
    while (cluster.world.nowMs() < endAt) {
      await cluster.elapse(random.between(50, 2500))
      const replica = random.pick(cluster.replicas)
      const what = random.pick(['kill', 'powercut', 'pause', 'killtwo', 'all', 'partition', 'partition', 'oneway', 'break', 'meta', 'addserver'])
      const victims = what === 'all' ? cluster.replicas : what === 'killtwo' ? [replica, random.pick(cluster.replicas)] : [replica]
      if (what === 'addserver') { if (cluster.replicas.length < 5) await cluster.add(flags) }
      else if (what === 'meta') { cluster.metaNode.crash({ powerCut: false }); await cluster.elapse(random.between(10, 3000)); cluster.metaNode.restart(); await cluster.startMeta() }
      else if (what === 'break') { const o = random.pick(cluster.replicas); if (o !== replica) cluster.world.network.breakConnections(replica.node.name, o.node.name, random.pick(['reset', 'silent'])) }
      else if (what === 'partition' || what === 'oneway') {
        const others = [...cluster.replicas.map((r) => r.node.name), 'm1', 'c1'].filter((n) => n !== replica.node.name)
        const cut = random.chance(0.4) ? others : [random.pick(others)]
        for (const o of cut) { if (what === 'partition' || random.chance(0.5)) cluster.world.network.block(replica.node.name, o); if (what === 'partition' || random.chance(0.5)) cluster.world.network.block(o, replica.node.name) }
        await cluster.elapse(random.between(50, 4000)); cluster.world.network.healAll()
      }
      else if (what === 'pause') { const ms = random.between(100, 2500); replica.node.pause(); await cluster.elapse(ms); replica.node.resume() }
      else {
        for (const v of victims) if (v.node.alive) v.kill({ powerCut: what === 'powercut' || (what === 'all' && random.chance(0.5)) })
        await cluster.elapse(random.chance(0.3) ? 10 : random.between(10, 4000))
        for (const v of victims) if (!v.server) await v.start()
      }
      for (const r of cluster.replicas) if (!r.node.alive) { r.kill(); await r.start() }
    }
    phase = 'heal'
    await cluster.until('healthy', () => {
      const views = cluster.replicas.flatMap((r) => r.views())
      const p = views.filter((v) => v.status === 'primary')
      return p.length === 1 && p[0]!.secondaries.length === 2 && views.filter((v) => v.status === 'secondary').length === 2
    }, 60000)
    const a = acks
    await cluster.until('writes', () => acks > a + 50, 60000)
    stopped = true
    await cluster.until('stop', () => running === 0)
    await cluster.elapse(1500)
    // I7 by trace
    const byDecree = new Map<number, { hash: bigint; node: string; ballot: number }>()
    for (const { node, event } of cluster.traces) if (event.type === 'committed') {
      const seen = byDecree.get(event.decree)
      if (seen && seen.hash !== event.hash) { bad.push(`decree ${event.decree}: ${node}@${event.ballot} differs from ${seen.node}@${seen.ballot}`) ; break }
      if (!seen) byDecree.set(event.decree, { hash: event.hash, node, ballot: event.ballot })
    }
    const failedReplicas = cluster.traces.filter(({ event }) => event.type === 'failed' || event.type === 'wiped').map((x) => JSON.stringify(x.event) + x.node + ' at ' + x.atMs)
    const exits = cluster.problems().filter((p) => !p.includes('stopped'))
    console.log(seed, bad.length === 0 && failedReplicas.length === 0 && exits.length === 0 ? 'ok' : 'BAD', 'acks', acks, 'unknown', unknowns, 'vms', Math.round(cluster.world.nowMs()), 'ms', Date.now() - began, bad.slice(0, 4), failedReplicas.slice(0, 3), exits.slice(0, 3))
  } catch (error) {
    console.log(seed, 'FAIL', phase, String(error), Date.now() - began, JSON.stringify(cluster.replicas.flatMap((r) => r.views().map((v) => ({ r: r.node.name, s: v.status, tr: v.transient, b: v.ballot, p: v.primary, sec: v.secondaries, a: v.applied, c: v.committed, m: v.maxDecree, l: v.learning, up: v.updatePending })))), cluster.problems().filter((p) => !p.includes('stopped')), cluster.traces.filter(({ event }) => event.type === 'failed').map((x) => JSON.stringify(x.event)).slice(0, 3))
  }
}
process.exit(0)
