/**
 * What a new configuration changes in a running gateway (gateway.md L-3, 11): options marked as
 * reloadable take their new value, the others keep the old one until a restart. Pure.
 */
import type { AnySection } from '../../cluster/runtime/options.ts'

export interface Reload<Config> {
  /** The new configuration, with the old value wherever a restart is needed. */
  readonly config: Config
  /** Paths that change now. */
  readonly changed: readonly string[]
  /** Paths that would change, after a restart. */
  readonly fixed: readonly string[]
}

type Values = Readonly<Record<string, unknown>>

export function reloadOf<Config>(schema: AnySection, old: Config, next: Config): Reload<Config> {
  const changed: string[] = []
  const fixed: string[] = []
  const walk = (section: AnySection, oldValues: Values, nextValues: Values, path: string): Values =>
    Object.fromEntries(
      Object.entries(section.entries).map(([key, entry]) => {
        const under = path === '' ? key : `${path}.${key}`
        const [was, is] = [oldValues[key], nextValues[key]]
        if (entry.kind === 'section') return [key, walk(entry, was as Values, is as Values, under)]
        if (JSON.stringify(was) === JSON.stringify(is)) return [key, was]
        const isTaken = entry.reloadable === true && !isOtherForm(under, was, is)
        if (isTaken) changed.push(under)
        else fixed.push(under)
        return [key, isTaken ? is : was]
      }),
    )
  // The same schema read both, so both have its shape, and so has the mixture.
  const config = walk(schema, old as Values, next as Values, '') as Config
  return { config, changed, fixed }
}

/** One process cannot become a primary of workers, nor the other way round. */
function isOtherForm(path: string, was: unknown, is: unknown): boolean {
  return path === 'workers' && (was === 1) !== (is === 1)
}
