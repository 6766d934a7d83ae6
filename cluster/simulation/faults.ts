/**
 * The seeded swarm of faults: each run draws which kinds it has and how often they come, so that
 * some runs are full of one kind and free of another. Every kind draws from a stream of its own:
 * leaving one out does not move the others. `heal` ends everything that is still going on.
 */
import type { MemoryCoordination } from '../coordinator/memory.ts'
import type { ReplicaTrace } from '../replica/trace.ts'
import type { SeededRandom } from '../runtime/simulated-random.ts'
import type { SimulatedWorld } from '../runtime/simulated.ts'
import { calmNetwork } from '../runtime/simulated-network.ts'
import { healthyDisk } from '../runtime/simulated-files.ts'
import type { ManagedServer } from './managed-server.ts'

export interface FaultSurface {
  readonly world: SimulatedWorld
  readonly servers: readonly ManagedServer[]
  /** Names of all nodes, clients included. */
  readonly nodeNames: readonly string[]
  readonly coordination: MemoryCoordination
  /** Sees every event of every replica until the answer is called. */
  readonly watch: (watcher: (trace: ReplicaTrace) => void) => () => void
}

/** What a fault does; the answer ends it. `say` writes the schedule. */
type Fault = (
  surface: FaultSurface,
  random: SeededRandom,
  say: (what: string) => void,
) => (() => void) | undefined

const replicasOf = (surface: FaultSurface): readonly ManagedServer[] =>
  surface.servers.filter((server) => server.role === 'replica')

/** One of the servers that are up, or undefined. */
function pickUp(
  servers: readonly ManagedServer[],
  random: SeededRandom,
): ManagedServer | undefined {
  const up = servers.filter((server) => server.node.alive)
  return up.length === 0 ? undefined : random.pick(up)
}

function down(powerCut: boolean): Fault {
  return ({ servers }, random, say) => {
    const server = pickUp(servers, random)
    if (server === undefined) return undefined
    say(`${powerCut ? 'power cut of' : 'kill'} ${server.node.name}`)
    server.holdDown(powerCut)
    return () => server.release()
  }
}

/** All replica servers, or all servers, lose their power within an instant. */
const blackout: Fault = (surface, random, say) => {
  const servers = random.chance(0.7) ? replicasOf(surface) : surface.servers
  const up = servers.filter((server) => server.node.alive)
  say(`power cut of ${up.map((server) => server.node.name).join(' ')}`)
  for (const server of up) server.holdDown(true)
  return () => {
    for (const server of up) server.release()
  }
}

const pause: Fault = ({ servers }, random, say) => {
  const server = pickUp(servers, random)
  if (server === undefined || server.node.paused) return undefined
  say(`pause ${server.node.name}`)
  server.node.pause()
  return () => {
    // A meta server that slept through its session ends.
    server.excuse()
    server.node.resume()
  }
}

/** Cuts one node off from some others, in one direction or both. */
const partition: Fault = ({ world, nodeNames }, random, say) => {
  const victim = random.pick(nodeNames)
  const fraction = random.pick([0.3, 0.6, 1])
  const others = nodeNames.filter((name) => name !== victim && random.chance(fraction))
  const direction = random.pick(['to', 'from', 'both'] as const)
  if (others.length === 0) return undefined
  say(`cut ${victim} ${direction} ${others.join(' ')}`)
  const links = others.flatMap((other) => [
    ...(direction === 'from' ? [] : [[victim, other] as const]),
    ...(direction === 'to' ? [] : [[other, victim] as const]),
  ])
  for (const [from, to] of links) world.network.block(from, to)
  return () => {
    for (const [from, to] of links) world.network.unblock(from, to)
  }
}

const breakConnections: Fault = ({ world, nodeNames }, random, say) => {
  const [a, b] = [random.pick(nodeNames), random.pick(nodeNames)]
  const how = random.pick(['reset', 'silent'] as const)
  if (a === b) return undefined
  say(`break connections ${a} ${b} ${how}`)
  world.network.breakConnections(a, b, how)
  return undefined
}

const badWeather: Fault = ({ world }, random, say) => {
  const jitterMeanMs = random.pick([2, 10, 40])
  const breakProbability = random.pick([0, 0.0005, 0.005])
  say(`network jitter ${jitterMeanMs} ms, breaks ${breakProbability}`)
  world.network.configure({ jitterMeanMs, breakProbability, spikeProbability: 0.02 })
  return () => world.network.configure(calmNetwork)
}

const slowDisk: Fault = (surface, random, say) => {
  const server = random.pick(replicasOf(surface))
  const syncMeanMs = random.pick([10, 50, 300])
  say(`slow disk of ${server.node.name}: sync ${syncMeanMs} ms`)
  server.node.disk.configure({ syncMeanMs, operationMeanMs: 2 })
  return () => {
    const { syncMeanMs: calm, operationMeanMs } = healthyDisk
    server.node.disk.configure({ syncMeanMs: calm, operationMeanMs })
  }
}

const fullDisk: Fault = (surface, random, say) => {
  const server = random.pick(replicasOf(surface))
  say(`disk of ${server.node.name} is full`)
  server.excuse()
  server.node.disk.configure({ full: true })
  return () => {
    server.excuse()
    server.node.disk.configure({ full: false })
  }
}

const diskErrors: Fault = (surface, random, say) => {
  const server = random.pick(replicasOf(surface))
  const which = random.pick([
    'readErrorProbability',
    'writeErrorProbability',
    'syncErrorProbability',
  ] as const)
  say(`disk of ${server.node.name}: ${which} 0.05`)
  server.excuse()
  server.node.disk.configure({ [which]: 0.05 })
  return () => {
    server.excuse()
    server.node.disk.configure({ [which]: 0 })
  }
}

const wallClock: Fault = ({ servers }, random, say) => {
  const server = random.pick(servers)
  const byMs = random.pick([-3_600_000, -2000, 2000, 3_600_000])
  say(`wall clock of ${server.node.name} steps ${byMs} ms`)
  server.node.stepWallClock(byMs)
  return undefined
}

const expireSession: Fault = ({ servers, coordination }, random, say) => {
  const sessions = coordination.sessionIds()
  if (sessions.length === 0) return undefined
  const id = random.pick(sessions)
  say(`coordinator session ${id} expires`)
  for (const server of servers) if (server.role === 'meta') server.excuse()
  coordination.expire(id)
  return undefined
}

const coordinatorLink: Fault = ({ servers, coordination }, random, say) => {
  const server = random.pick(servers.filter(({ role }) => role === 'meta'))
  const how = random.pick(['down', 'lost-replies'] as const)
  say(`coordinator ${how} for ${server.node.name}`)
  server.excuse()
  coordination.setReachable(server.node.name, how)
  return () => {
    server.excuse()
    coordination.setReachable(server.node.name, 'up')
  }
}

const coordinatorFrozen: Fault = ({ servers, coordination }, _random, say) => {
  say('coordinator stops answering')
  const excuseMetas = (): void => {
    for (const server of servers) if (server.role === 'meta') server.excuse()
  }
  excuseMetas()
  coordination.freeze()
  return () => {
    excuseMetas()
    coordination.thaw()
  }
}

interface FaultKind {
  readonly fault: Fault
  /** Mean time between two of a kind, when a run has it, and mean length of one. */
  readonly everyMs: number
  readonly lastsMs: number
}

/** What a crash point may lie right behind; the moments of replica-invariants.md 4.1. */
const crashPointTypes = [
  'recovered',
  'configured',
  'ballot-persisted',
  'proposed',
  'logged',
  'committed',
  'applied',
  'write-acknowledged',
  'durable',
  'learning',
] as const

/** Waits for an event of a replica, then ends, cuts or pauses its server in that very moment. */
function atEvent(act: (server: ManagedServer, random: SeededRandom) => () => void): Fault {
  return (surface, random, say) => {
    const type = random.pick(crashPointTypes)
    const frequent = type === 'recovered' || type === 'configured' || type === 'learning'
    let left = random.below(frequent ? 4 : 40)
    let end: (() => void) | undefined
    const stop = surface.watch((trace) => {
      if (trace.event.type !== type || left-- > 0) return
      stop()
      const server = surface.servers.find(({ address }) => address === trace.node)
      // Behind this turn: the code that tells of the event is still running.
      surface.world.after(0, () => {
        if (server === undefined || !server.node.alive || server.node.paused) return
        say(`at ${type} of ${server.node.name}`)
        end = act(server, random)
      })
    })
    return () => {
      stop()
      end?.()
    }
  }
}

const crashPoint = atEvent((server, random) => {
  server.holdDown(random.chance(0.5))
  return () => server.release()
})

const pausePoint = atEvent((server) => {
  server.node.pause()
  return () => server.node.resume()
})

export const faultKinds = {
  kill: { fault: down(false), everyMs: 6000, lastsMs: 1500 },
  'power-cut': { fault: down(true), everyMs: 8000, lastsMs: 2000 },
  blackout: { fault: blackout, everyMs: 25_000, lastsMs: 2000 },
  pause: { fault: pause, everyMs: 6000, lastsMs: 1500 },
  partition: { fault: partition, everyMs: 6000, lastsMs: 2500 },
  'break-connections': { fault: breakConnections, everyMs: 3000, lastsMs: 1 },
  'bad-weather': { fault: badWeather, everyMs: 10_000, lastsMs: 5000 },
  'slow-disk': { fault: slowDisk, everyMs: 10_000, lastsMs: 4000 },
  'full-disk': { fault: fullDisk, everyMs: 15_000, lastsMs: 1500 },
  'disk-errors': { fault: diskErrors, everyMs: 15_000, lastsMs: 1500 },
  'wall-clock': { fault: wallClock, everyMs: 5000, lastsMs: 1 },
  'crash-point': { fault: crashPoint, everyMs: 3000, lastsMs: 2500 },
  'pause-point': { fault: pausePoint, everyMs: 3000, lastsMs: 2000 },
  'session-expiry': { fault: expireSession, everyMs: 10_000, lastsMs: 1 },
  'coordinator-link': { fault: coordinatorLink, everyMs: 10_000, lastsMs: 1500 },
  'coordinator-frozen': { fault: coordinatorFrozen, everyMs: 20_000, lastsMs: 1000 },
} as const satisfies Readonly<Record<string, FaultKind>>

export type FaultKindName = keyof typeof faultKinds

export const faultKindNames = Object.keys(faultKinds) as readonly FaultKindName[]

export class FaultSwarm {
  readonly kinds: readonly FaultKindName[]
  readonly #surface: FaultSurface
  readonly #random: SeededRandom
  readonly #schedule: string[] = []
  readonly #active = new Set<() => void>()
  #stopped = false

  /** `without` takes kinds out of what the seed drew, to find out which ones a failure needs. */
  constructor(surface: FaultSurface, random: SeededRandom, without: ReadonlySet<FaultKindName>) {
    this.#surface = surface
    this.#random = random
    const density = random.fork('swarm').pick([0.15, 0.4, 0.7])
    this.kinds = faultKindNames.filter(
      (name) => random.fork(`swarm/${name}`).chance(density) && !without.has(name),
    )
  }

  start(): void {
    for (const name of this.kinds) {
      const random = this.#random.fork(`kind/${name}`)
      // A kind may be rare or frequent in this run.
      this.#next(name, random, random.pick([0.2, 0.5, 1, 2]))
    }
  }

  /** Ends what goes on and starts no more. */
  heal(): void {
    this.#stopped = true
    this.#say('all faults end')
    for (const end of [...this.#active]) end()
  }

  /** What was done, a line each, in order. */
  schedule(): readonly string[] {
    return this.#schedule
  }

  #next(name: FaultKindName, random: SeededRandom, factor: number): void {
    const { fault, everyMs, lastsMs } = faultKinds[name]
    const { world } = this.#surface
    world.after(random.exponential(everyMs * factor), () => {
      if (this.#stopped) return
      const end = fault(this.#surface, random, (what) => this.#say(what))
      if (end !== undefined) this.#endAfter(random.exponential(lastsMs), end)
      this.#next(name, random, factor)
    })
  }

  #endAfter(delayMs: number, end: () => void): void {
    const once = (): void => {
      if (this.#active.delete(once)) end()
    }
    this.#active.add(once)
    this.#surface.world.after(delayMs, once)
  }

  #say(what: string): void {
    const { world } = this.#surface
    this.#schedule.push(`${(world.nowMs() / 1000).toFixed(3)} s: ${what}`)
    world.note('fault', 'inject', what)
  }
}
