/** Data requests whose key is none (data-model.md 1): each is to be answered kInvalidArgument. */
import { encodeArgument } from '../../cluster/protocol/frame.ts'
import { Rpc } from '../../cluster/protocol/rpc-codes.ts'
import {
  BatchGetRequest,
  CheckAndMutateRequest,
  CheckAndSetRequest,
  IncrRequest,
  MultiGetRequest,
  MultiPutRequest,
  MultiRemoveRequest,
  UpdateRequest,
} from '../../cluster/protocol/rrdb.ts'
import type { Codec } from '../../cluster/protocol/schema.ts'

export type KeyRequest = readonly [what: string, rpc: string, argument: Buffer]

const rawKeys: readonly (readonly [string, Buffer])[] = [
  ['an empty raw key', Buffer.alloc(0)],
  ['a raw key of one byte', Buffer.from([0])],
  ['a hash key beyond the end', Buffer.from([0, 5, 0x61])],
  ['a raw key with a hash key of 65535 bytes', Buffer.alloc(2 + 65_535, 0xff)],
]
const hashKey = Buffer.alloc(65_535, 0x61)
const sortKey = Buffer.from('s')
const kvs = [{ key: sortKey, value: sortKey }]
const mutateList = [{ operation: 0, sortKey, value: sortKey, setExpireTsSeconds: 0 }]
const bare = 'a bare hash key of 65535 bytes'

function request<T>(
  what: string,
  rpc: { readonly name: string; readonly argument: Codec<T> },
  value: T,
): KeyRequest {
  return [what, rpc.name, encodeArgument(rpc.argument, value)]
}

export const badKeyRequests: readonly KeyRequest[] = [
  ...rawKeys.flatMap(([what, key]) => [
    request(what, Rpc.GET, key),
    request(what, Rpc.TTL, key),
    request(what, Rpc.REMOVE, key),
    request(what, Rpc.PUT, UpdateRequest.make({ key })),
    request(what, Rpc.INCR, IncrRequest.make({ key, increment: 1n })),
  ]),
  request(bare, Rpc.SORTKEY_COUNT, hashKey),
  request(bare, Rpc.MULTI_GET, MultiGetRequest.make({ hashKey })),
  request(bare, Rpc.MULTI_PUT, MultiPutRequest.make({ hashKey, kvs })),
  request(bare, Rpc.MULTI_REMOVE, MultiRemoveRequest.make({ hashKey, sortKeys: [sortKey] })),
  request(bare, Rpc.CHECK_AND_SET, CheckAndSetRequest.make({ hashKey })),
  request(bare, Rpc.CHECK_AND_MUTATE, CheckAndMutateRequest.make({ hashKey, mutateList })),
  request(bare, Rpc.BATCH_GET, BatchGetRequest.make({ keys: [{ hashKey, sortKey }] })),
]
