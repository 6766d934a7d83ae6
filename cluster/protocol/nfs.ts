/** File copy between replica servers (upstream src/nfs/nfs.thrift). Field ids and types: wire.md 13, meta-server.md appendix A, replica-server.md 19. */
import { type ValueOf, bool, field, i32, i64, list, optional, string, struct } from './schema.ts'
import { blob, gpid, hostPort, rpcAddress } from './base.ts'

export const CopyRequest = struct('copy_request', {
  source: field(1, rpcAddress),
  sourceDir: field(2, string),
  dstDir: field(3, string),
  fileName: field(4, string),
  offset: field(5, i64),
  size: field(6, i32),
  isLast: field(7, bool),
  overwrite: field(8, bool),
  sourceDiskTag: optional(9, string),
  pid: optional(10, gpid),
  hpSource: optional(11, hostPort),
})
export type CopyRequest = ValueOf<typeof CopyRequest>

export const CopyResponse = struct('copy_response', {
  error: field(1, i32),
  fileContent: field(2, blob),
  offset: field(3, i64),
  size: field(4, i32),
})
export type CopyResponse = ValueOf<typeof CopyResponse>

export const GetFileSizeRequest = struct('get_file_size_request', {
  source: field(1, rpcAddress),
  dstDir: field(2, string),
  fileList: field(3, list(string)),
  sourceDir: field(4, string),
  overwrite: field(5, bool),
  sourceDiskTag: optional(6, string),
  destDiskTag: optional(7, string),
  pid: optional(8, gpid),
  hpSource: optional(9, hostPort),
})
export type GetFileSizeRequest = ValueOf<typeof GetFileSizeRequest>

export const GetFileSizeResponse = struct('get_file_size_response', {
  error: field(1, i32),
  fileList: field(2, list(string)),
  sizeList: field(3, list(i64)),
})
export type GetFileSizeResponse = ValueOf<typeof GetFileSizeResponse>
