/** What this gateway process says of itself in the fleet: who it is and where clients find it. */
import { hostname, networkInterfaces } from 'node:os'
import type { Runtime } from '../cluster/runtime/runtime.ts'
import { programVersion } from '../cluster/runtime/version.ts'
import type { GatewayConfig } from './config.ts'
import { memberId } from './routing/fleet-member.ts'
import type { GatewayFacts } from './routing/registration.ts'

const ADDRESSES_MAX = 16

export function gatewayFacts(options: {
  readonly runtime: Runtime
  readonly config: Pick<GatewayConfig, 'id' | 'workers'>
  /** Where clients connect, with the real ports; the first one names the gateway. */
  readonly rpc: readonly { readonly host: string; readonly port: number }[]
  /** Of the admin port. */
  readonly http: string
}): GatewayFacts {
  const { runtime, config, rpc, http } = options
  const host = hostname()
  return {
    id: memberId(runtime, config.id ?? `${host}-${rpc[0]?.port ?? 0}`),
    version: programVersion(),
    startedAt: new Date(runtime.clock.wallMs()).toISOString(),
    host,
    rpc: rpc.flatMap((at) => addresses(at.host).map((address) => `${address}:${at.port}`)),
    http,
    workers: config.workers,
  }
}

/** Listening everywhere means each of this machine's addresses but the loopback. */
function addresses(host: string): readonly string[] {
  if (host !== '0.0.0.0') return [host]
  const all = Object.values(networkInterfaces()).flatMap((found) => found ?? [])
  const outer = all.filter(({ family, internal }) => family === 'IPv4' && !internal)
  return outer.map(({ address }) => address).slice(0, ADDRESSES_MAX)
}
