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
  /** Where clients connect, with the real port. */
  readonly rpc: { readonly host: string; readonly port: number }
  /** Of the admin port. */
  readonly http: string
}): GatewayFacts {
  const { runtime, config, rpc, http } = options
  const host = hostname()
  return {
    id: memberId(runtime, config.id ?? `${host}-${rpc.port}`),
    version: programVersion(),
    startedAt: new Date(runtime.clock.wallMs()).toISOString(),
    host,
    rpc: addresses(rpc.host).map((address) => `${address}:${rpc.port}`),
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
