/** What stands on every line of a gateway's log (gateway.md O-4): which of many gateways it is. */
import { hostname } from 'node:os'
import type { LogFields } from '../cluster/runtime/runtime.ts'
import type { GatewayConfig } from './config.ts'

export function gatewayLogFields(config: Pick<GatewayConfig, 'id' | 'rpc'>): LogFields {
  return { gateway: config.id ?? `${hostname()}-${config.rpc.port}` }
}
