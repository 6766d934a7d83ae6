/**
 * Which gateways of a fleet are of another version, or run with another configuration, than most
 * (admin-ui.md 3.10). Pure.
 */
import type { Gateway } from '../../../gateway/admin/api/gateways.ts'

export type Compared = Pick<Gateway, 'id' | 'version' | 'configHash'>

export interface Skew {
  readonly version: boolean
  /** Among those of its version: options and defaults of others may be different ones. */
  readonly config: boolean
  /** One that runs with what most do, to compare with; undefined when there is no such. */
  readonly compareWith: string | undefined
}

/** What most of them have; undefined when as many have something else. */
export function mostOf(values: readonly string[]): string | undefined {
  const counts = new Map<string, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  const [[most, count] = [undefined, 0], [, next] = [undefined, 0]] = [...counts].toSorted(
    ([, a], [, b]) => b - a,
  )
  return count > next ? most : undefined
}

export function skewOf(gateways: readonly Compared[], gateway: Compared): Skew {
  const { id, version, configHash } = gateway
  const alike = gateways.filter((one) => one.version === version && one.configHash !== undefined)
  const common = mostOf(alike.map((one) => one.configHash ?? ''))
  const isOdd = configHash !== undefined && configHash !== common
  const other = alike.find((one) =>
    common === undefined ? one.configHash !== configHash : one.configHash === common,
  )
  return {
    version: version !== mostOf(gateways.map((one) => one.version)),
    config: isOdd,
    compareWith: isOdd && other?.id !== id ? other?.id : undefined,
  }
}
