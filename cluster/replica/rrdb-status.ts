/** The RocksDB status numbers that data responses carry in `error` (wire.md 9). */
export const DataStatus = {
  OK: 0,
  NOT_FOUND: 1,
  INVALID_ARGUMENT: 4,
  INCOMPLETE: 7,
  TRY_AGAIN: 13,
} as const

/** What every data response ends with. */
export interface ResponseOrigin {
  readonly appId: number
  readonly partitionIndex: number
  /** `ip:port` of the server that answers. */
  readonly server: string
}
