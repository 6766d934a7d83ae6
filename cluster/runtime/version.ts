/** The version of this program, from the package that it is part of. */
import { readFileSync } from 'node:fs'

/** Such as `0.1.0`; `unknown` when no package can be found around the program. */
export function programVersion(): string {
  for (const up of ['../../', '../../../'])
    try {
      const text = readFileSync(new URL(`${up}package.json`, import.meta.url), 'utf8')
      const { name, version } = JSON.parse(text) as { name?: unknown; version?: unknown }
      if (name === 'pegasus-metaproxy' && typeof version === 'string') return version
    } catch {
      // Sources and compiled programs lie at different depths.
    }
  return 'unknown'
}
