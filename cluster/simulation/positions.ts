/** How far each replica is, from its own events: what the meta server will be told by it. */
import type { ReplicaTrace } from '../replica/trace.ts'
import { entryOf, gpidText } from './checkers/checker.ts'
import type { ReplicaPosition } from './checkers/converges.ts'

export class Positions {
  readonly #positions = new Map<string, { ballot: number; committed: number }>()

  of(gpid: string, node: string): ReplicaPosition | undefined {
    return this.#positions.get(`${gpid} ${node}`)
  }

  observe(trace: ReplicaTrace): void {
    const { event, node } = trace
    const key = `${gpidText(trace)} ${node}`
    const position = entryOf(this.#positions, key, () => ({ ballot: 0, committed: 0 }))
    switch (event.type) {
      case 'recovered':
        position.ballot = event.ballot
        position.committed = event.applied
        return
      case 'ballot-persisted':
      case 'configured':
        position.ballot = Math.max(position.ballot, event.ballot)
        return
      case 'committed':
        position.committed = Math.max(position.committed, event.decree)
        return
      case 'wiped':
        position.committed = 0
        return
      case 'applied':
      case 'closed':
      case 'durable':
      case 'failed':
      case 'learning':
      case 'logged':
      case 'proposed':
      case 'read-served':
      case 'write-acknowledged':
    }
  }
}
