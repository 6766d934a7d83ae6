/**
 * Every request of test/vectors/server_responses.json, in order and through real sockets, against a
 * running cluster: two meta servers, three replica servers, a table of 8 partitions with 3 replicas.
 * What an original Apache Pegasus answered, ours answers byte for byte, except what depends on
 * addresses, ids and clocks, and except the answers listed here with their reasons.
 */
import t from 'tap'
import { encodeArgument, encodeRequest } from '../../cluster/protocol/frame.ts'
import { encodeKey } from '../../cluster/protocol/key.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { startOnebox } from '../support/onebox.ts'
import { FrameConnection } from './frame-connection.ts'
import { type Answer, type RecordedAnswer, Replay, recordedAnswers } from './recorded-answers.ts'
import { type TableView, header, viewTable } from './table-view.ts'

const neverAnswered = 'a reply to clear_scanner ends connections of the Go client (wire.md 5)'
const cutName = 'reply names are not cut at 47 bytes (wire.md 4: a limit of the original alone)'
const finished =
  'context_id 0 sends official clients into a loop: an empty range is finished, -1 (data-model.md 4)'
const mayBeFresh = 'a backup read may be stale on the original and may be fresh here (wire.md 10.1)'

/** Name of the recorded answer → why ours differs. */
const ownAnswers: Readonly<Record<string, string>> = {
  put_internal_type: 'a put with fields that belong to servers is applied and answered (wire.md 7)',
  scanner_14: finished,
  scanner_15: finished,
  clear_scanner_unknown_partition: neverAnswered,
  clear_scanner_at_secondary: neverAnswered,
  [`meta_unhandled_${'L'.repeat(44)}`]: cutName,
  [`meta_unhandled_${'L'.repeat(47)}`]: cutName,
  [`meta_unhandled_${'L'.repeat(60)}`]: cutName,
}

/** May be as recorded or not. */
const eitherAnswer: Readonly<Record<string, string>> = {
  get_backup_at_secondary: mayBeFresh,
  multi_get_backup_at_secondary: mayBeFresh,
  ttl_backup_at_secondary: mayBeFresh,
}

class Cluster {
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

const probeSeqid = 0x7fff_0000

void t.test('what an original server answered, ours answers', { timeout: 400_000 }, async (t) => {
  // Replay of configuration queries needs the hp_* fields that the original always sends.
  const onebox = await startOnebox({ flags: ['--clusters', '1', '--host-port-fields'] })
  t.teardown(() => onebox.remove())
  const metas = onebox.servers().filter(({ role }) => role === 'meta')
  const view = await viewTable(
    metas.map(({ rpc }) => rpc),
    'temp',
  )
  const cluster = new Cluster(view)
  t.teardown(() => cluster.close())
  const replay = new Replay({ appId: view.appId, nowMs: Date.now })
  const differing: string[] = []
  const all = recordedAnswers()
  for (const recorded of all) {
    const answer = await cluster.exchange(recorded, replay.request(recorded))
    const difference = replay.difference(recorded, answer)
    const reason = ownAnswers[recorded.name]
    if (reason !== undefined) t.ok(difference, `${recorded.name}: ${reason}`)
    else if (difference !== undefined && eitherAnswer[recorded.name] === undefined)
      differing.push(`${recorded.name}: ${difference}`)
  }
  t.same(differing, [], `${all.length} requests replayed`)
})
