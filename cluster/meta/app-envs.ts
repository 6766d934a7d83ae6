/**
 * Table settings ("envs"): which keys exist and what their values may be (meta-server.md 14). The
 * hints go to clients; where upstream's are recorded, ours are the same. Pure. What a request makes
 * of a table's envs is in `update-envs.ts`.
 */
/** `undefined` when the value is fine, else the hint. */
type Check = (value: string) => string | undefined

const i32Max = 2n ** 31n - 1n
const i64Max = 2n ** 63n - 1n

function whole(bits: 32 | 64, fits: (value: bigint) => boolean, expected: string): Check {
  const max = bits === 32 ? i32Max : i64Max
  return (text) => {
    const value = /^[+-]?\d{1,20}$/.test(text) ? BigInt(text.replace(/^\+/, '')) : undefined
    if (value === undefined || value > max || value < -max - 1n)
      return `invalid value '${text}', should be an ${bits} bits integer`
    return fits(value) ? undefined : `invalid value '${text}', should be '${expected}'`
  }
}

const notNegative32 = whole(32, (value) => value >= 0n, '>= 0')
const notNegative64 = whole(64, (value) => value >= 0n, '>= 0')
const targetLevel = whole(64, (value) => value === -1n || value >= 1n, '-1 or >= 1')
const bufferSize = whole(
  64,
  (value) => value >= 16n << 20n && value <= 512n << 20n,
  '[16777216, 536870912]',
)
const levelCount = whole(64, (value) => value >= 1n && value <= 10n, '[1, 10]')

const bool: Check = (value) =>
  /^(true|false)$/i.test(value) ? undefined : `invalid value '${value}', should be a boolean`

const anything: Check = () => undefined

function oneOf(...words: readonly string[]): Check {
  return (value) =>
    words.includes(value)
      ? undefined
      : `invalid value '${value}', should be one of: ${words.join(', ')}`
}

const denyModes = ['timeout', 'reconfig']
const denyTargets = ['all', 'write', 'read']

/** `timeout*write` and the like; `reconfig*client` is ours (replica-server.md 15). */
const denyClient: Check = (value) => {
  const [mode = '', target = '', ...rest] = value.split('*')
  const known = denyTargets.includes(target) || target === 'client'
  if (denyModes.includes(mode) && known && rest.length === 0) return undefined
  const list = denyModes.map((word) => denyTargets.map((kind) => `${word}*${kind}`).join(', '))
  return `Invalid deny client args, valid include: ${list.join('; ')}`
}

const unitShift: Readonly<Record<string, bigint>> = { '': 0n, K: 10n, M: 20n }

/** An amount with `K` or `M`, `undefined` when it is none or too large for 64 bits. */
function amountOf(text: string): bigint | undefined {
  const [, digits, unit = ''] = /^(\d{1,20})([KM]?)$/.exec(text) ?? []
  const shift = unitShift[unit]
  if (digits === undefined || shift === undefined) return undefined
  const value = BigInt(digits) << shift
  return value > i64Max ? undefined : value
}

/** `20000*delay*100,30000*reject*200`: at most one of each kind. */
const throttle: Check = (value) => {
  if (value === '') return 'the value of a throttling env must not be empty'
  const kinds = new Set<string>()
  for (const item of value.split(',')) {
    const fields = item.trim().split('*')
    const [amount = '', kind = '', delay = ''] = fields
    if (fields.length !== 3) return `The field count of '${item}' separated by '*' must be 3`
    if (amountOf(amount) === undefined) return `'${amount}' should be an unsigned integer`
    if (kind !== 'delay' && kind !== 'reject') return `'${kind}' should be 'delay' or 'reject'`
    if (kinds.has(kind)) return `duplicate '${kind}' config`
    kinds.add(kind)
    if (!/^\d{1,18}$/.test(delay)) return `'${delay}' should be an unsigned integer`
  }
  return undefined
}

const readSizeThrottle: Check = (value) => {
  const amount = amountOf(value)
  return amount !== undefined && amount > 0n ? undefined : throttle(value)
}

const checks: Readonly<Record<string, Check>> = {
  default_ttl: notNegative32,
  'replica.slow_query_threshold': whole(64, (value) => value >= 20n, '>= 20'),
  'replica.rocksdb_iteration_threshold_time_ms': notNegative64,
  'replica.rocksdb_block_cache_enabled': bool,
  'replica.write_throttling': throttle,
  'replica.write_throttling_by_size': throttle,
  'replica.read_throttling': throttle,
  'replica.backup_request_throttling': throttle,
  'replica.read_throttling_by_size': readSizeThrottle,
  'replica.deny_client_request': denyClient,
  'replica.split.validate_partition_hash': bool,
  user_specified_compaction: anything,
  'business.info': anything,
  'rocksdb.usage_scenario': oneOf('normal', 'prefer_write', 'bulk_load'),
  'rocksdb.allow_ingest_behind': bool,
  'rocksdb.write_buffer_size': bufferSize,
  'rocksdb.num_levels': levelCount,
  'rocksdb.checkpoint.reserve_min_count': whole(32, (value) => value > 0n, '> 0'),
  'rocksdb.checkpoint.reserve_time_seconds': notNegative32,
  'manual_compact.disabled': bool,
  'manual_compact.max_concurrent_running_count': notNegative32,
  'manual_compact.once.trigger_time': notNegative64,
  'manual_compact.once.target_level': targetLevel,
  'manual_compact.periodic.target_level': targetLevel,
  'manual_compact.once.bottommost_level_compaction': oneOf('force', 'skip'),
  'manual_compact.periodic.bottommost_level_compaction': oneOf('force', 'skip'),
  'manual_compact.periodic.trigger_time': anything,
  'replica_access_controller.allowed_users': anything,
  'replica_access_controller.ranger_policies': anything,
  'duplication.master_cluster': anything,
  'duplication.master_metas': anything,
  'duplication.master_app_name': anything,
  'duplication.follower_app_status': anything,
}

/** Longer keys and values are refused: all envs of a table live in one stored node. */
const envBytesMax = 64 * 1024

export function envProblem(key: string, value: string): string | undefined {
  const check = Object.hasOwn(checks, key) ? checks[key] : undefined
  if (check === undefined) return `app_env '${key.slice(0, 200)}' is not supported`
  if (value.length > envBytesMax) return `the value of '${key}' is longer than ${envBytesMax}`
  return check(value)
}

/** At creation only the storage options are looked at, as upstream does. */
export function creationEnvProblem(envs: ReadonlyMap<string, string>): string | undefined {
  let sizeBytes = 0
  for (const [key, value] of envs) {
    sizeBytes += key.length + value.length
    if (sizeBytes > envBytesMax) return `envs are larger than ${envBytesMax} bytes`
    if (key !== 'rocksdb.write_buffer_size' && key !== 'rocksdb.num_levels') continue
    const problem = envProblem(key, value)
    if (problem !== undefined) return problem
  }
  return undefined
}
