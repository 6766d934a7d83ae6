/**
 * A gateway as a member of its fleet: says in its node how far it is (`registration.ts`), as soon as
 * it is there (`fleet-epoch.ts`). A switch waits for all members (gateway.md S3, DR-31).
 */
import type { Coordinator } from '../../cluster/coordinator/coordinator.ts'
import type { Runtime } from '../../cluster/runtime/runtime.ts'
import { LoadMeter, type LoadReading } from '../load.ts'
import { FleetEpoch } from './fleet-epoch.ts'
import { type GatewayFacts, Registration } from './registration.ts'
import type { TableDirectory } from './table-directory.ts'

export interface FleetMemberParts {
  readonly runtime: Runtime
  /** The session that watches the mappings, and the one that writes. The caller's both. */
  readonly data: Coordinator
  readonly control: Coordinator
  readonly controlRoot: string
  readonly directory: TableDirectory
  readonly facts: GatewayFacts
  readonly connectionCount: () => number
  readonly isDraining: () => boolean
  readonly configHash: () => string
  /** What was served until now, and how late event loops were since the last call. */
  readonly served: () => Omit<LoadReading, 'routes'>
  /** Resolves when all workers serve what the directory has applied; left out without workers. */
  readonly acknowledged?: (epoch: number) => Promise<void>
}

export interface FleetMember {
  readonly appliedEpoch: () => number
  /** Something in the node has changed, such as draining. */
  readonly update: () => void
  readonly close: () => Promise<void>
}

export function joinFleet(parts: FleetMemberParts): FleetMember {
  const { runtime, data, control, controlRoot, directory, facts } = parts
  const { connectionCount, isDraining, configHash, served } = parts
  const { acknowledged = () => Promise.resolve() } = parts
  const meter = new LoadMeter(
    () => runtime.clock.monotonicMs(),
    () => ({ ...served(), routes: directory.routeCount }),
  )
  const epoch = new FleetEpoch(runtime, data, {
    controlRoot,
    settled: () => directory.settled(),
    acknowledged,
    onApplied: () => registration.update(),
  })
  const registration = new Registration(runtime, control, {
    controlRoot,
    facts,
    state: () => ({
      load: meter.load(),
      appliedEpoch: epoch.applied,
      routingEpoch: directory.epoch,
      redirects: Object.fromEntries(
        [...directory.redirects].map(([source, redirect]) => [source, redirect.epoch]),
      ),
      zookeeper: data.state() === 'connected' ? 'connected' : 'suspended',
      connections: connectionCount(),
      draining: isDraining(),
      configHash: configHash(),
    }),
  })
  const stopListening = data.onState(() => registration.update())
  return {
    appliedEpoch: () => epoch.applied,
    update: () => registration.update(),
    close: async () => {
      stopListening()
      epoch.close()
      await registration.close()
    },
  }
}

/** Unique for each start of a process, readable for people. */
export function memberId(runtime: Runtime, name: string): string {
  return `${name.replace(/[^A-Za-z0-9._-]/g, '-')}-${runtime.random.bytes(3).toString('hex')}`
}
