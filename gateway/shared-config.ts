/**
 * The part of a gateway's configuration that should be equal in the whole fleet, as a short hash that
 * each one shows the others (admin-ui.md 3.10). Left out is what makes a gateway this one: names,
 * addresses, files, the number of its processes, the labels of its metrics. Secrets are masked
 * already: only whether there is one counts. Pure.
 */
import { createHash } from 'node:crypto'
import type { EffectiveOption } from '../cluster/runtime/config.ts'

const ownOptions = /^(id|workers|zookeeper\.servers|metric\.tags)$|\.(host|port)$|(File|Folder)$/
/** In the items of a list, such as `endpoints`. */
const ownKeys: readonly string[] = ['host', 'port']
const HASH_DIGITS = 8

export function sharedConfigHash(options: readonly EffectiveOption[]): string {
  const shared = options
    .filter(({ path }) => !ownOptions.test(path))
    .map(({ path, value }) => [path, value] as const)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
  const text = JSON.stringify(shared, (key, value: unknown) =>
    ownKeys.includes(key) ? undefined : value,
  )
  return createHash('sha256').update(text).digest('hex').slice(0, HASH_DIGITS)
}
