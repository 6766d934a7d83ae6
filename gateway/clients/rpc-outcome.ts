/** What became of an RPC besides the query, for the client, the audit and the metric. Pure. */
import type { ReplyFrame } from '../../cluster/protocol/frame.ts'
import type { TableRpc } from './rpc-policy.ts'
import type { RelayOutcome } from './rpc-relay.ts'

/** A call on its way. */
export interface Call {
  readonly rpc: TableRpc
  readonly table: string
  readonly argument: Buffer
  /** `address:port` of the client. */
  readonly peer: string
  readonly deadlineMs: number
  cluster: string | undefined
}

export type Outcome = OwnOutcome | RelayedOutcome

export interface RelayedOutcome {
  readonly kind: 'relayed'
  readonly reply: ReplyFrame
  readonly meta: string
  /** The table had no mapping before: who wrote it. */
  readonly mapping?: 'written' | 'by others'
}

export interface OwnOutcome {
  readonly kind: 'own'
  /** For the metric. */
  readonly result: keyof typeof ownErrors
  readonly why: string
  /** The meta server that did its part. */
  readonly meta?: string
}

/** What the client is told in the response struct. */
export const ownErrors = {
  'no-table': 'ERR_OBJECT_NOT_FOUND',
  'invalid-mapping': 'ERR_INVALID_DATA',
  // Java and Node clients ask again by themselves, C++ until their deadline.
  unavailable: 'ERR_SERVICE_NOT_ACTIVE',
  busy: 'ERR_BUSY',
  'outcome-unknown': 'ERR_TIMEOUT',
  'no-cluster': 'ERR_CLUSTER_NOT_FOUND',
  'invalid-cluster': 'ERR_INVALID_DATA',
  'no-right': 'ERR_ZOOKEEPER_OPERATION',
} as const

export function own(result: OwnOutcome['result'], why: string): OwnOutcome {
  return { kind: 'own', result, why }
}

export function outcomeOf(outcome: RelayOutcome): Outcome {
  switch (outcome.kind) {
    case 'reply':
      return { kind: 'relayed', reply: outcome.reply, meta: outcome.meta }
    case 'unreachable':
      return own('unavailable', 'no meta server took it')
    case 'unknown':
      return own('outcome-unknown', `outcome unknown, ${outcome.meta}: ${outcome.reason}`)
    default:
      return outcome satisfies never
  }
}

/** What the meta server said: in the header, or in the response struct. */
export function errorIn(rpc: TableRpc, { errorName, result }: ReplyFrame): string {
  return errorName === 'ERR_OK' ? (rpc.errorOf(result) ?? 'unreadable answer') : errorName
}
