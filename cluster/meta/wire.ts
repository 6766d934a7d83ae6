/**
 * Between the wire's structs and the state's values: configurations with or without `hp_*` fields,
 * and the host names that peers use for their addresses. Nodes are known by `ip:port`; a host name
 * is only remembered, to be shown again where `hp_*` fields are wanted (wire.md 6). Pure.
 */
import type { HostPort, RpcAddress } from '../protocol/base.ts'
import { PartitionConfiguration } from '../protocol/layer2.ts'
import type { Config } from './state.ts'

const ADDRESS = /^(\d{1,3}(?:\.\d{1,3}){3}):(\d{1,5})$/

const noHost: HostPort = { host: '', port: 0, type: 0 }

/** More names than this are not kept; the address stands for the name then. */
const namesMax = 10_000

/** What nodes call themselves, by address. */
export class HostNames {
  readonly #names = new Map<RpcAddress, HostPort>()

  /** Remembers the name that belongs to an address; an invalid one of either is ignored. */
  learn(address: RpcAddress, name: HostPort | undefined): void {
    if (name === undefined || name.type !== 1 || name.host === '' || !ADDRESS.test(address)) return
    if (this.#names.size < namesMax || this.#names.has(address)) this.#names.set(address, name)
  }

  learnList(addresses: readonly RpcAddress[], names: readonly HostPort[] | undefined): void {
    for (const [at, address] of addresses.entries()) this.learn(address, names?.[at])
  }

  /** The name of an address: what was learned, else its own text. */
  of(address: RpcAddress): HostPort {
    const known = this.#names.get(address)
    if (known !== undefined) return known
    const [, host, port] = ADDRESS.exec(address) ?? []
    return host === undefined ? noHost : { host, port: Number(port), type: 1 }
  }

  /** The address of a peer: the one it gave, or that of its name; '' when neither is usable. */
  addressOf(address: RpcAddress, name: HostPort | undefined): RpcAddress {
    if (ADDRESS.test(address)) {
      this.learn(address, name)
      return address
    }
    if (name === undefined || name.type !== 1) return ''
    const text = `${name.host}:${name.port}`
    if (ADDRESS.test(text)) return text
    for (const [known, given] of this.#names)
      if (given.host === name.host && given.port === name.port) return known
    return ''
  }
}

/** With `names` the `hp_*` fields are filled, without they are left out. */
export function configToWire(config: Config, names: HostNames | undefined): PartitionConfiguration {
  const { pid, ballot, maxReplicaCount, primary, lastCommittedDecree, partitionFlags } = config
  const secondaries = [...config.secondaries]
  const lastDrops = [...config.lastDrops]
  return {
    pid,
    ballot,
    maxReplicaCount,
    primary,
    secondaries,
    lastDrops,
    lastCommittedDecree,
    partitionFlags,
    ...(names === undefined
      ? {}
      : {
          hpPrimary: names.of(primary),
          hpSecondaries: secondaries.map((node) => names.of(node)),
          hpLastDrops: lastDrops.map((node) => names.of(node)),
        }),
  }
}

/** Learns the host names on the way. Entries without a usable address are kept as ''. */
export function configFromWire(wire: PartitionConfiguration, names: HostNames): Config {
  const { hpSecondaries, hpLastDrops } = wire
  return {
    pid: wire.pid,
    ballot: wire.ballot,
    maxReplicaCount: wire.maxReplicaCount,
    primary: names.addressOf(wire.primary, wire.hpPrimary),
    secondaries: wire.secondaries.map((node, at) => names.addressOf(node, hpSecondaries?.[at])),
    lastDrops: wire.lastDrops.map((node, at) => names.addressOf(node, hpLastDrops?.[at])),
    lastCommittedDecree: wire.lastCommittedDecree,
    partitionFlags: wire.partitionFlags,
  }
}

/** An answer to a configuration query that only says who leads (meta-server.md 2.4). */
export function leaderOnlyConfig(
  leader: RpcAddress,
  names: HostNames | undefined,
): PartitionConfiguration {
  return PartitionConfiguration.make({
    primary: leader,
    ...(names === undefined ? {} : { hpPrimary: names.of(leader) }),
  })
}
