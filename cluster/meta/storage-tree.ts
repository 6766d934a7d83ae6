/**
 * The stored form: paths below the cluster root and the JSON in them, readable by upstream and
 * reading what upstream wrote (meta-server.md 3). Field order and number forms are part of the
 * format. Pure.
 */
import type { HostPort } from '../protocol/base.ts'
import { gpidText } from '../protocol/base.ts'
import { AppInfo, AppStatus } from '../protocol/layer2.ts'
import type { Config } from './state.ts'
import type { HostNames } from './wire.ts'

export const appsPath = '/apps'
/** Contents of `/apps` while the tree is whole; anything else than this or nothing is fatal. */
export const unlocked = 'unlock'

export function appPath(appId: number): string {
  return `${appsPath}/${appId}`
}

export function partitionPath(appId: number, partitionIndex: number): string {
  return `${appPath(appId)}/${partitionIndex}`
}

/** Stored contents that cannot be used: what and where. */
export class StoredDataError extends Error {
  override readonly name = 'StoredDataError'
}

const statusNames = new Map<number, string>(
  Object.entries(AppStatus).map(([name, value]) => [value, `app_status::${name}`]),
)

/** `status` is stored as given: AS_AVAILABLE or AS_DROPPED only. */
export function encodeApp(info: Readonly<AppInfo>): string {
  return JSON.stringify({
    status: statusNames.get(info.status) ?? 'app_status::AS_INVALID',
    app_type: info.appType,
    app_name: info.appName,
    app_id: info.appId,
    partition_count: info.partitionCount,
    envs: Object.fromEntries(info.envs),
    is_stateful: info.isStateful ? 1 : 0,
    max_replica_count: info.maxReplicaCount,
    expire_second: info.expireSecond,
    create_second: info.createSecond,
    drop_second: info.dropSecond,
    duplicating: info.duplicating === true ? 1 : 0,
    init_partition_count: info.initPartitionCount,
    is_bulk_loading: info.isBulkLoading === true ? 1 : 0,
    atomic_idempotent: info.atomicIdempotent === true ? 1 : 0,
  })
}

/** Throws `StoredDataError`. Unknown members are ignored, missing ones keep their default. */
export function decodeApp(text: string, path: string): AppInfo {
  const from = new JsonObject(text, path)
  const statusText = from.text('status')
  const status = [...statusNames].find(([, name]) => name === statusText)?.[0]
  if (status !== AppStatus.AS_AVAILABLE && status !== AppStatus.AS_DROPPED)
    throw new StoredDataError(`${path}: status ${JSON.stringify(statusText)} cannot be stored`)
  return {
    status,
    appType: from.text('app_type'),
    appName: from.text('app_name'),
    appId: from.integer('app_id'),
    partitionCount: from.integer('partition_count'),
    envs: from.textMap('envs'),
    isStateful: from.flag('is_stateful'),
    maxReplicaCount: from.integer('max_replica_count'),
    expireSecond: from.integer('expire_second'),
    createSecond: from.integer('create_second'),
    dropSecond: from.integer('drop_second'),
    duplicating: from.flag('duplicating'),
    initPartitionCount: from.integer('init_partition_count', -1),
    isBulkLoading: from.flag('is_bulk_loading'),
    atomicIdempotent: from.flag('atomic_idempotent'),
  }
}

function addressText(address: string): string {
  return address === '' ? 'invalid address' : address
}

function hostPortText({ host, port, type }: HostPort): string {
  return type === 1 ? `${host}:${port}` : 'invalid host_port'
}

export function encodeConfig(config: Config, names: HostNames): string {
  const { primary, secondaries, lastDrops } = config
  const hosts = (nodes: readonly string[]): string[] =>
    nodes.map((node) => hostPortText(names.of(node)))
  return JSON.stringify({
    pid: gpidText(config.pid),
    ballot: config.ballot,
    max_replica_count: config.maxReplicaCount,
    primary: addressText(primary),
    secondaries: secondaries.map(addressText),
    last_drops: lastDrops.map(addressText),
    last_committed_decree: config.lastCommittedDecree,
    partition_flags: config.partitionFlags,
    hp_primary: hostPortText(names.of(primary)),
    hp_secondaries: hosts(secondaries),
    hp_last_drops: hosts(lastDrops),
  })
}

function parseHostPort(text: string | undefined): HostPort | undefined {
  const [, host, port] = /^(.+):(\d{1,5})$/.exec(text ?? '') ?? []
  return host === undefined ? undefined : { host, port: Number(port), type: 1 }
}

/** Throws `StoredDataError`, also when the content belongs to another partition. */
export function decodeConfig(
  text: string,
  at: { readonly path: string; readonly pid: string },
  names: HostNames,
): Config {
  const from = new JsonObject(text, at.path)
  const pidText = from.text('pid')
  if (pidText !== at.pid)
    throw new StoredDataError(`${at.path}: holds partition ${JSON.stringify(pidText)}`)
  const [appId = 0, partitionIndex = 0] = pidText.split('.').map(Number)
  const nodes = (addresses: readonly string[], hosts: readonly string[]): string[] =>
    addresses.map((address, index) => {
      const node = names.addressOf(address, parseHostPort(hosts[index]))
      if (node !== '') return node
      throw new StoredDataError(`${at.path}: no usable address in ${JSON.stringify(address)}`)
    })
  const primary = from.text('primary', 'invalid address')
  const hpPrimary = from.text('hp_primary', 'invalid host_port')
  const hasPrimary = primary !== 'invalid address' || hpPrimary !== 'invalid host_port'
  return {
    pid: { appId, partitionIndex },
    ballot: from.integer('ballot'),
    maxReplicaCount: from.integer('max_replica_count'),
    primary: hasPrimary ? (nodes([primary], [hpPrimary])[0] ?? '') : '',
    secondaries: nodes(from.textList('secondaries'), from.textList('hp_secondaries')),
    lastDrops: nodes(from.textList('last_drops'), from.textList('hp_last_drops')),
    lastCommittedDecree: from.integer('last_committed_decree'),
    partitionFlags: from.integer('partition_flags'),
  }
}

/** A JSON object whose members are read with a type and a default. */
class JsonObject {
  readonly #members: Readonly<Record<string, unknown>>
  readonly #path: string

  constructor(text: string, path: string) {
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch (cause) {
      throw new StoredDataError(`${path}: not JSON: ${text.slice(0, 200)}`, { cause })
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new StoredDataError(`${path}: expected an object, found ${text.slice(0, 200)}`)
    this.#members = Object.fromEntries(Object.entries(value))
    this.#path = path
  }

  #wrong(name: string, expected: string): StoredDataError {
    const found = JSON.stringify(this.#members[name]) ?? 'nothing'
    return new StoredDataError(
      `${this.#path}: ${name}: expected ${expected}, found ${found.slice(0, 100)}`,
    )
  }

  text(name: string, fallback = ''): string {
    const value = this.#members[name] ?? fallback
    if (typeof value !== 'string') throw this.#wrong(name, 'text')
    return value
  }

  integer(name: string, fallback = 0): number {
    const value = this.#members[name] ?? fallback
    if (typeof value !== 'number' || !Number.isSafeInteger(value))
      throw this.#wrong(name, 'a whole number')
    return value
  }

  /** Written as 0 or 1; true and false are read too. */
  flag(name: string): boolean {
    const value = this.#members[name] ?? 0
    if (value !== 0 && value !== 1 && typeof value !== 'boolean') throw this.#wrong(name, '0 or 1')
    return value === 1 || value === true
  }

  textList(name: string): readonly string[] {
    const value = this.#members[name] ?? []
    if (!Array.isArray(value) || !value.every((item): item is string => typeof item === 'string'))
      throw this.#wrong(name, 'a list of texts')
    return value
  }

  textMap(name: string): Map<string, string> {
    const value = this.#members[name] ?? {}
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw this.#wrong(name, 'an object of texts')
    const entries: [string, string][] = []
    for (const [key, item] of Object.entries(value)) {
      if (typeof item !== 'string') throw this.#wrong(name, 'an object of texts')
      entries.push([key, item])
    }
    return new Map(entries)
  }
}
