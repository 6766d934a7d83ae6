/**
 * The size and the settings of one simulated cluster, drawn from the seed. Times are short, so that
 * many changes of configuration fit into a run; the relations between them are those of production.
 */
import type { SeededRandom } from '../runtime/simulated-random.ts'

export interface ClusterPlan {
  readonly metaCount: number
  readonly replicaServerCount: number
  readonly clientCount: number
  readonly processesPerClient: number
  readonly partitionCount: number
  readonly copies: number
  readonly beaconMs: number
  readonly checkMs: number
  readonly leaseMs: number
  readonly graceMs: number
  readonly sessionTimeoutMs: number
  readonly configSyncMs: number
  readonly checkRoundMs: number
  readonly assignDelayMs: number
  readonly operationTimeoutMs: number
  /** Mean pause of a client process between two operations. */
  readonly thinkMeanMs: number
  /** Operations on a hash key before a new one takes its place: what the checker must search. */
  readonly operationsPerKey: number
  readonly activeKeys: number
  readonly prepareTimeoutMs: number
  readonly stalenessMax: number
  readonly prepareListMax: number
  readonly segmentBytes: number
  readonly syncIntervalMs: number
  readonly groupCheckMs: number
  readonly learnAnswerBytes: number
}

export function drawPlan(random: SeededRandom): ClusterPlan {
  const beaconMs = random.pick([50, 100])
  const checkMs = random.pick([25, 50])
  const sessionTimeoutMs = random.pick([300, 600])
  const leaseMs = sessionTimeoutMs + 100 + beaconMs + random.pick([100, 400])
  return {
    metaCount: random.pick([1, 2, 2, 3]),
    replicaServerCount: random.pick([3, 3, 4, 5]),
    clientCount: random.pick([1, 2, 3]),
    processesPerClient: random.pick([1, 2, 3]),
    partitionCount: random.pick([1, 2, 4]),
    copies: random.pick([2, 3, 3, 3]),
    beaconMs,
    checkMs,
    sessionTimeoutMs,
    leaseMs,
    graceMs: Math.ceil(leaseMs * 1.1) + 50,
    configSyncMs: random.pick([200, 1000]),
    checkRoundMs: random.pick([100, 300]),
    assignDelayMs: random.pick([500, 2000]),
    operationTimeoutMs: random.pick([500, 1500]),
    thinkMeanMs: random.pick([10, 40, 100]),
    operationsPerKey: random.pick([10, 20, 40]),
    activeKeys: random.pick([2, 4, 8]),
    prepareTimeoutMs: random.pick([200, 400]),
    stalenessMax: random.pick([2, 5, 20]),
    prepareListMax: random.pick([4, 20, 110]),
    segmentBytes: random.pick([4096, 16_384, 1 << 20]),
    syncIntervalMs: random.pick([100, 500, 3000]),
    groupCheckMs: random.pick([100, 500]),
    learnAnswerBytes: random.pick([1024, 65_536]),
  }
}
