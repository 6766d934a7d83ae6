/**
 * A running table as the target of recorded requests: which server a request goes to, over which
 * connection, and how it is known that there is no reply.
 */
import { encodeArgument, encodeRequest } from '../../cluster/protocol/frame.ts'
import { encodeKey } from '../../cluster/protocol/key.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { FrameConnection } from './frame-connection.ts'
import type { Answer, RecordedAnswer } from './recorded-answers.ts'
import { type TableView, header } from './table-view.ts'

const probeSeqid = 0x7fff_0000

export class ReplayTarget {
  readonly #view: TableView
  readonly #connections = new Map<string, FrameConnection>()

  constructor(view: TableView) {
    this.#view = view
  }

  #addressOf({ to, request_hex: hex, request }: RecordedAnswer): string {
    if (to === 'meta leader') return this.#view.metaLeader
    if (to === 'meta follower') return this.#view.metaFollowers[0] ?? ''
    // The partition is that of the hash in the header, whatever gpid stands beside it.
    const hash =
      hex !== undefined && hex.startsWith('5448465400000000')
        ? Buffer.from(hex, 'hex').readBigUInt64BE(40)
        : BigInt(request?.header.partition_hash ?? 0)
    const { partitions } = this.#view
    const partition = partitions[Number(hash % BigInt(partitions.length))]
    return (to === 'primary' ? partition?.primary : partition?.secondaries[0]) ?? ''
  }

  /** Sends a request where its recording says; what came back, or that nothing did. */
  async exchange(recorded: RecordedAnswer, frame: Buffer): Promise<Answer> {
    const address = this.#addressOf(recorded)
    // Whatever spoils a connection gets one of its own.
    const isAbuse = recorded.outcome === 'closed' || recorded.name === 'incomplete'
    const connection = isAbuse ? new FrameConnection(address) : this.#connectionTo(address)
    connection.send(frame)
    if (recorded.outcome === 'silence' || recorded.request?.message.name.endsWith('CLEAR_SCANNER'))
      return this.#afterProbe(address, connection, isAbuse)
    const reply = await connection.next()
    if (isAbuse) connection.close()
    if (typeof reply === 'string') return { outcome: reply, bytes: Buffer.alloc(0) }
    return { outcome: 'reply', bytes: reply.bytes }
  }

  /** Silence is shown by the answer to a later request that is there, while this one's is not. */
  async #afterProbe(
    address: string,
    connection: FrameConnection,
    isAbuse: boolean,
  ): Promise<Answer> {
    const asked = isAbuse ? this.#connectionTo(address) : connection
    const argument = encodeArgument(Rpc.GET.argument, encodeKey(Buffer.from('a'), Buffer.alloc(0)))
    asked.send(encodeRequest(header({}), Rpc.GET.name, probeSeqid, argument))
    const reply = await asked.next()
    if (isAbuse) {
      const { isClosed } = connection
      connection.close()
      return { outcome: isClosed ? 'closed' : 'silence', bytes: Buffer.alloc(0) }
    }
    if (typeof reply === 'string') return { outcome: 'closed', bytes: Buffer.alloc(0) }
    if (reply.seqid === probeSeqid) return { outcome: 'silence', bytes: Buffer.alloc(0) }
    await asked.next()
    return { outcome: 'reply', bytes: reply.bytes }
  }

  #connectionTo(address: string): FrameConnection {
    let connection = this.#connections.get(address)
    if (connection === undefined || connection.isClosed) {
      connection = new FrameConnection(address)
      this.#connections.set(address, connection)
    }
    return connection
  }

  close(): void {
    for (const connection of this.#connections.values()) connection.close()
  }
}
