/**
 * Transport error names (wire.md 10): frame header errors and the `err` fields of response structs.
 * Names travel as text; the numbers are the C++ definition order, which Java, Node and Python share,
 * and never travel. An unknown name ends a client's connection (wire.md 5.1), so what goes to clients
 * passes through `errorNameForClients`. RocksDB status numbers (`StorageStatus`) are another table.
 */

interface ErrorEntry {
  readonly number: number
  /** Which official clients survive the name in a frame header. */
  readonly knownBy: 'all' | 'all but Go' | 'none' | 'local'
  /** What may have become of a write that got this answer. ERR_INVALID_STATE may come after a prepare. */
  readonly effect: 'done' | 'none' | 'unknown'
  /** client.md 2 and 4: give up; resend; refresh the configuration and resend; meta calls only: ask another, wait. */
  readonly clientAction: 'none' | 'fail' | 'retry' | 'refresh' | 'forward' | 'wait'
}

const known = (
  number: number,
  effect: ErrorEntry['effect'],
  clientAction: ErrorEntry['clientAction'],
  knownBy: ErrorEntry['knownBy'] = 'all',
): ErrorEntry => ({ number, knownBy, effect, clientAction })

export const ErrorCode = {
  ERR_OK: known(0, 'done', 'none'),
  ERR_UNKNOWN: known(1, 'unknown', 'fail'),
  ERR_SERVICE_NOT_FOUND: known(2, 'none', 'fail'),
  ERR_SERVICE_ALREADY_RUNNING: known(3, 'none', 'fail'),
  ERR_IO_PENDING: known(4, 'unknown', 'fail'),
  ERR_TIMEOUT: known(5, 'unknown', 'fail'),
  ERR_SERVICE_NOT_ACTIVE: known(6, 'none', 'wait'),
  ERR_BUSY: known(7, 'none', 'fail'),
  ERR_NETWORK_INIT_FAILED: known(8, 'none', 'fail'),
  ERR_FORWARD_TO_OTHERS: known(9, 'none', 'forward'),
  ERR_OBJECT_NOT_FOUND: known(10, 'none', 'refresh'),
  ERR_HANDLER_NOT_FOUND: known(11, 'none', 'fail'),
  ERR_LEARN_FILE_FAILED: known(12, 'none', 'fail'),
  ERR_GET_LEARN_STATE_FAILED: known(13, 'none', 'fail'),
  ERR_INVALID_VERSION: known(14, 'none', 'fail'),
  ERR_INVALID_PARAMETERS: known(15, 'none', 'fail'),
  ERR_CAPACITY_EXCEEDED: known(16, 'none', 'retry'),
  ERR_INVALID_STATE: known(17, 'unknown', 'refresh'),
  ERR_INACTIVE_STATE: known(18, 'none', 'fail'),
  ERR_NOT_ENOUGH_MEMBER: known(19, 'none', 'retry'),
  ERR_FILE_OPERATION_FAILED: known(20, 'none', 'fail'),
  ERR_HANDLE_EOF: known(21, 'none', 'fail'),
  ERR_WRONG_CHECKSUM: known(22, 'none', 'fail'),
  ERR_INVALID_DATA: known(23, 'none', 'fail'),
  ERR_INVALID_HANDLE: known(24, 'none', 'fail'),
  ERR_INCOMPLETE_DATA: known(25, 'none', 'fail'),
  ERR_VERSION_OUTDATED: known(26, 'none', 'fail'),
  ERR_PATH_NOT_FOUND: known(27, 'none', 'fail'),
  ERR_PATH_ALREADY_EXIST: known(28, 'none', 'fail'),
  ERR_ADDRESS_ALREADY_USED: known(29, 'none', 'fail'),
  ERR_STATE_FREEZED: known(30, 'none', 'fail'),
  ERR_LOCAL_APP_FAILURE: known(31, 'unknown', 'fail'),
  ERR_BIND_IOCP_FAILED: known(32, 'none', 'fail'),
  ERR_NETWORK_START_FAILED: known(33, 'none', 'fail'),
  ERR_NOT_IMPLEMENTED: known(34, 'none', 'fail'),
  ERR_CHECKPOINT_FAILED: known(35, 'none', 'fail'),
  ERR_WRONG_TIMING: known(36, 'none', 'fail'),
  ERR_NO_NEED_OPERATE: known(37, 'none', 'fail'),
  ERR_CORRUPTION: known(38, 'none', 'fail'),
  ERR_TRY_AGAIN: known(39, 'none', 'fail'),
  ERR_CLUSTER_NOT_FOUND: known(40, 'none', 'fail'),
  ERR_CLUSTER_ALREADY_EXIST: known(41, 'none', 'fail'),
  ERR_SERVICE_ALREADY_EXIST: known(42, 'none', 'fail'),
  ERR_INJECTED: known(43, 'none', 'fail'),
  ERR_REPLICATION_FAILURE: known(44, 'unknown', 'fail'),
  ERR_APP_EXIST: known(45, 'none', 'fail'),
  ERR_APP_NOT_EXIST: known(46, 'none', 'fail'),
  ERR_BUSY_CREATING: known(47, 'none', 'fail'),
  ERR_BUSY_DROPPING: known(48, 'none', 'fail'),
  ERR_NETWORK_FAILURE: known(49, 'unknown', 'fail'),
  ERR_UNDER_RECOVERY: known(50, 'none', 'wait'),
  ERR_LEARNER_NOT_FOUND: known(51, 'none', 'fail', 'all but Go'),
  ERR_OPERATION_DISABLED: known(52, 'none', 'fail'),
  ERR_EXPIRED: known(53, 'none', 'fail'),
  ERR_LOCK_ALREADY_EXIST: known(54, 'none', 'fail'),
  ERR_HOLD_BY_OTHERS: known(55, 'none', 'fail'),
  ERR_RECURSIVE_LOCK: known(56, 'none', 'fail'),
  ERR_NO_OWNER: known(57, 'none', 'fail'),
  ERR_NODE_ALREADY_EXIST: known(58, 'none', 'fail'),
  ERR_INCONSISTENT_STATE: known(59, 'none', 'fail'),
  ERR_ARRAY_INDEX_OUT_OF_RANGE: known(60, 'none', 'fail'),
  ERR_DIR_NOT_EMPTY: known(61, 'none', 'fail', 'all but Go'),
  ERR_FS_INTERNAL: known(62, 'none', 'fail', 'all but Go'),
  ERR_IGNORE_BAD_DATA: known(63, 'none', 'fail', 'all but Go'),
  ERR_APP_DROPPED: known(64, 'none', 'fail'),
  ERR_MOCK_INTERNAL: known(65, 'none', 'fail', 'all but Go'),
  ERR_ZOOKEEPER_OPERATION: known(66, 'none', 'fail'),
  ERR_CHILD_REGISTERED: known(67, 'none', 'fail'),
  ERR_INGESTION_FAILED: known(68, 'none', 'fail'),
  ERR_UNAUTHENTICATED: known(69, 'none', 'fail'),
  ERR_KRB5_INTERNAL: known(70, 'none', 'fail'),
  ERR_SASL_INTERNAL: known(71, 'none', 'fail'),
  ERR_SASL_INCOMPLETE: known(72, 'none', 'fail'),
  ERR_ACL_DENY: known(73, 'none', 'fail'),
  ERR_SPLITTING: known(74, 'none', 'fail'),
  ERR_PARENT_PARTITION_MISUSED: known(75, 'none', 'refresh'),
  ERR_CHILD_NOT_READY: known(76, 'none', 'fail'),
  ERR_DISK_INSUFFICIENT: known(77, 'none', 'fail'),
  ERR_RETRY_EXHAUSTED: known(78, 'none', 'fail', 'none'),
  ERR_SYNC_RANGER_POLICIES_FAILED: known(79, 'none', 'fail', 'none'),
  ERR_RANGER_PARSE_ACL: known(80, 'none', 'fail', 'none'),
  ERR_RANGER_POLICIES_NO_NEED_UPDATE: known(81, 'none', 'fail', 'none'),
  ERR_RDB_CORRUPTION: known(82, 'unknown', 'fail', 'none'),
  ERR_DISK_IO_ERROR: known(83, 'unknown', 'fail', 'none'),
  ERR_CURL_FAILED: known(84, 'none', 'fail', 'none'),
  ERR_DUP_EXIST: known(85, 'none', 'fail', 'none'),
  ERR_HTTP_ERROR: known(86, 'none', 'fail', 'none'),
  ERR_NOT_MATCHED: known(87, 'none', 'fail', 'none'),
  // Made by clients themselves, never sent.
  ERR_SESSION_RESET: known(1000, 'unknown', 'refresh', 'local'),
  ERR_THREAD_INTERRUPTED: known(1001, 'unknown', 'fail', 'local'),
} as const satisfies Readonly<Record<string, ErrorEntry>>

export type ErrorName = keyof typeof ErrorCode

export function isErrorName(name: string): name is ErrorName {
  return Object.hasOwn(ErrorCode, name)
}

/** The entry of a name; names from newer servers count as ERR_UNKNOWN. */
export function errorEntry(name: string): ErrorEntry {
  return isErrorName(name) ? ErrorCode[name] : ErrorCode.ERR_UNKNOWN
}

/** The name itself when every client knows it in a frame header, else ERR_UNKNOWN (wire.md 5.1). */
export function errorNameForClients(name: string): ErrorName {
  if (name === 'ERR_DISK_IO_ERROR') return 'ERR_DISK_INSUFFICIENT'
  if (!isErrorName(name)) return 'ERR_UNKNOWN'
  return ErrorCode[name].knownBy === 'all' ? name : 'ERR_UNKNOWN'
}

/** RocksDB status numbers in the `error` field of data responses (wire.md 9). */
export const StorageStatus = {
  kOk: 0,
  kNotFound: 1,
  kCorruption: 2,
  kNotSupported: 3,
  kInvalidArgument: 4,
  kIOError: 5,
  kMergeInProgress: 6,
  kIncomplete: 7,
  kShutdownInProgress: 8,
  kTimedOut: 9,
  kAborted: 10,
  kBusy: 11,
  kExpired: 12,
  kTryAgain: 13,
  kNoNeedOperate: 101,
} as const
