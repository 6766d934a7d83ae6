/** A running table as a test sees it: who leads the metas, and who holds which partition. */
import {
  decodeResult,
  encodeArgument,
  encodeRequest,
  type ReplyFrame,
} from '../../cluster/protocol/frame.ts'
import { QueryCfgRequest, QueryCfgResponse } from '../../cluster/protocol/layer2.ts'
import type { PartitionConfiguration } from '../../cluster/protocol/layer2.ts'
import { emptyHeader } from '../../cluster/protocol/request-header.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import { FrameConnection } from './frame-connection.ts'

export interface TableView {
  readonly appId: number
  readonly partitions: readonly PartitionConfiguration[]
  readonly metaLeader: string
  /** The other meta servers. */
  readonly metaFollowers: readonly string[]
}

/** Asks every meta server; throws when none of them leads or the table is not there. */
export async function viewTable(metas: readonly string[], appName: string): Promise<TableView> {
  const answers = await Promise.all(
    metas.map(async (address) => ({ address, response: await query(address, appName) })),
  )
  const leader = answers.find(({ response }) => response.err === 'ERR_OK')
  if (leader === undefined)
    throw new Error(`no leader: ${answers.map(({ response }) => response.err).join(', ')}`)
  const { appId, partitions } = leader.response
  return {
    appId,
    partitions,
    metaLeader: leader.address,
    metaFollowers: metas.filter((address) => address !== leader.address),
  }
}

async function query(address: string, appName: string): Promise<QueryCfgResponse> {
  const connection = new FrameConnection(address)
  try {
    const { name } = Rpc.QUERY_PARTITION_CONFIG_BY_INDEX
    const argument = encodeArgument(QueryCfgRequest, { appName, partitionIndices: [] })
    connection.send(encodeRequest(header({}), name, 1, argument))
    return decodeResult(QueryCfgResponse, (await replyOf(connection)).result)
  } finally {
    connection.close()
  }
}

/** Throws when the connection closes or stays silent. */
export async function replyOf(connection: FrameConnection): Promise<ReplyFrame> {
  const reply = await connection.next()
  if (typeof reply === 'string') throw new Error(`no reply: ${reply}`)
  return reply
}

/** A v0 request header with defaults. */
export function header(given: {
  readonly appId?: number
  readonly partitionIndex?: number
  readonly partitionHash?: bigint
}) {
  return { ...emptyHeader, clientTimeoutMs: 5000, ...given }
}
