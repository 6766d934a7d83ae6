/** How far each replica is, from its own events: what the meta server will be told by it. */
import type { ReplicaTrace } from '../replica/trace.ts'
import { entryOf, gpidText } from './checkers/checker.ts'
import type { ReplicaPosition } from './checkers/converges.ts'

type Writable = { -readonly [K in keyof ReplicaPosition]: ReplicaPosition[K] }

export class Positions {
  readonly #positions = new Map<string, Writable>()

  of(gpid: string, node: string): ReplicaPosition | undefined {
    return this.#positions.get(`${gpid} ${node}`)
  }

  observe(trace: ReplicaTrace): void {
    const { event, node } = trace
    const key = `${gpidText(trace)} ${node}`
    const position = entryOf(this.#positions, key, () => ({ ballot: 0, committed: 0, prepared: 0 }))
    switch (event.type) {
      case 'recovered':
        position.ballot = event.ballot
        position.committed = event.applied
        position.prepared = event.lastPrepared
        return
      case 'ballot-persisted':
      case 'configured':
        position.ballot = Math.max(position.ballot, event.ballot)
        return
      case 'committed':
        position.committed = Math.max(position.committed, event.decree)
        return
      case 'logged':
        position.prepared = Math.max(position.prepared, event.decree)
        return
      case 'wiped':
        position.committed = 0
        position.prepared = 0
        return
      case 'applied':
      case 'closed':
      case 'durable':
      case 'failed':
      case 'learning':
      case 'proposed':
      case 'read-served':
      case 'write-acknowledged':
    }
  }
}
