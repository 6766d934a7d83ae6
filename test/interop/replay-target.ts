/**
 * A running table as the target of recorded requests: which server a request goes to, over which
 * connection, and how it is known that there is no reply.
 */
import { encodeArgument, encodeRequest } from '../../cluster/protocol/frame.ts'
import { encodeKey } from '../../cluster/protocol/key.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { FrameConnection } from './frame-connection.ts'
import { type Answer, RECORDED_APP_ID, type RecordedAnswer } from './recorded-answers.ts'
import { type TableView, header } from './table-view.ts'

interface RecordedHeader {
  readonly app_id: number
  readonly partition_index: number
  readonly partition_hash: string
}

/** Requests that only prepare the next ones come without decoded fields, all of them v0. */
function headerOf(
  hex: string | undefined,
  request: { readonly header: RecordedHeader } | undefined,
): RecordedHeader {
  if (request !== undefined) return request.header
  const frame = Buffer.from(hex ?? '', 'hex')
  return {
    app_id: frame.readInt32BE(24),
    partition_index: frame.readInt32BE(28),
    partition_hash: String(frame.readBigUInt64BE(40)),
  }
}

const probeSeqid = 0x7fff_0000
/** A reply that comes later than all of them is taken for none. */
const PROBES = 12
const PROBE_PAUSE_MS = 100

export class ReplayTarget {
  readonly #view: TableView
  readonly #connections = new Map<string, FrameConnection>()

  constructor(view: TableView) {
    this.#view = view
  }

  #addressOf({ to, request_hex: hex, request }: RecordedAnswer): string {
    if (to === 'meta leader') return this.#view.metaLeader
    if (to === 'meta follower') return this.#view.metaFollowers[0] ?? ''
    const { partitions } = this.#view
    const { app_id: appId, partition_index: index, partition_hash: hash } = headerOf(hex, request)
    // Requests that name no partition of the table went where their hash belongs.
    const named = appId === RECORDED_APP_ID ? partitions[index] : undefined
    const partition = named ?? partitions[Number(BigInt(hash) % BigInt(partitions.length))]
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
    const probe = encodeRequest(header({}), Rpc.GET.name, probeSeqid, argument)
    // A read overtakes a write that is still being synced: several of them, with pauses.
    for (let round = 0; round < PROBES; round++) {
      asked.send(probe)
      const reply = await asked.next()
      if (isAbuse) {
        const { isClosed } = connection
        connection.close()
        return { outcome: isClosed ? 'closed' : 'silence', bytes: Buffer.alloc(0) }
      }
      if (typeof reply === 'string') return { outcome: 'closed', bytes: Buffer.alloc(0) }
      if (reply.seqid !== probeSeqid) {
        await asked.next()
        return { outcome: 'reply', bytes: reply.bytes }
      }
      await new Promise((resolve) => {
        setTimeout(resolve, PROBE_PAUSE_MS)
      })
    }
    return { outcome: 'silence', bytes: Buffer.alloc(0) }
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
