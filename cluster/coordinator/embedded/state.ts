/**
 * What the embedded server knows: tree, sessions and watches, changed only by transactions that are
 * handed on in order to be made durable. Effects are visible here at once; that nothing of them
 * reaches a client before it is durable is the connections' part. No I/O and no clock.
 */
import type { Identities, TransactionOutcome, TreeEvent, TreeRequest } from '../tree.ts'
import type { Tree } from '../tree.ts'
import { WatchTable } from '../watches.ts'
import type { Snapshot, StoredSession, Transaction } from './records.ts'

export class ServerState<Subscriber> {
  readonly tree: Tree
  readonly watches = new WatchTable<Subscriber>()
  readonly #sessions: Map<bigint, StoredSession>
  readonly #commit: (transaction: Transaction) => void
  readonly #notify: (subscriber: Subscriber, event: TreeEvent) => void
  #zxid: bigint

  constructor(
    recovered: Snapshot,
    effects: {
      readonly commit: (transaction: Transaction) => void
      readonly notify: (subscriber: Subscriber, event: TreeEvent) => void
    },
  ) {
    this.tree = recovered.tree
    this.#zxid = recovered.zxid
    this.#sessions = new Map(recovered.sessions.map((session) => [session.id, session]))
    this.#commit = effects.commit
    this.#notify = effects.notify
  }

  /** The last transaction. */
  zxid(): bigint {
    return this.#zxid
  }

  session(id: bigint): StoredSession | undefined {
    return this.#sessions.get(id)
  }

  sessions(): readonly StoredSession[] {
    return [...this.#sessions.values()]
  }

  snapshot(): Snapshot {
    return { zxid: this.#zxid, sessions: this.sessions(), tree: this.tree }
  }

  openSession(session: StoredSession, wallMs: number): void {
    this.#zxid += 1n
    this.#sessions.set(session.id, session)
    this.#commit({ zxid: this.#zxid, wallMs, kind: 'session', session })
  }

  /** Its ephemeral nodes go with it. */
  endSession(sessionId: bigint, wallMs: number): void {
    if (!this.#sessions.delete(sessionId)) return
    this.#zxid += 1n
    const time = { zxid: this.#zxid, wallMs }
    this.#commit({ ...time, kind: 'session-end', sessionId })
    const events: TreeEvent[] = []
    for (const path of this.tree.ownedBy(sessionId))
      this.tree.apply({ type: 'remove', path }, time, events)
    this.#publish(events)
  }

  write(
    requests: readonly TreeRequest[],
    identities: Identities,
    wallMs: number,
  ): TransactionOutcome {
    const time = { zxid: this.#zxid + 1n, wallMs }
    const outcome = this.tree.transact(requests, identities, time)
    if (!outcome.ok || outcome.changes.length === 0) return outcome
    this.#zxid = time.zxid
    this.#commit({ ...time, kind: 'changes', changes: outcome.changes })
    this.#publish(outcome.events)
    return outcome
  }

  #publish(events: readonly TreeEvent[]): void {
    for (const event of events)
      for (const subscriber of this.watches.take(event)) this.#notify(subscriber, event)
  }
}
