/**
 * schemathesis from PyPI, in a virtual environment that is made on first use and kept in a cache folder.
 * Missing Python or an unreachable registry is a reason to leave out the suite that needs it.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** The second one newer breaks a library between the two. */
const requirements = ['schemathesis==4.4.1', 'hypothesis==6.138.0']
const folder = resolve('node_modules/.cache/metaproxy-schemathesis')
const installMsMax = 300_000

export type Schemathesis =
  | { readonly command: string; readonly missing?: undefined }
  | { readonly command?: undefined; readonly missing: string }

export function schemathesis(): Schemathesis {
  const command = join(folder, 'bin', 'schemathesis')
  if (existsSync(command) && run(command, ['--version']) === undefined) return { command }
  rmSync(folder, { recursive: true, force: true })
  const made = run('python3', ['-m', 'venv', folder])
  if (made !== undefined) return { missing: `python3 -m venv failed: ${made}` }
  const options = ['--quiet', '--disable-pip-version-check', '--no-input']
  const installed = run(join(folder, 'bin', 'python'), [
    ...['-m', 'pip', 'install'],
    ...options,
    ...requirements,
  ])
  return installed === undefined ? { command } : { missing: `pip install failed: ${installed}` }
}

/** Undefined when it went well, else the last line of its complaint. */
function run(command: string, words: readonly string[]): string | undefined {
  const result = spawnSync(command, words, { encoding: 'utf8', timeout: installMsMax })
  if (result.status === 0) return undefined
  const lines = (result.stderr ?? '').trim().split('\n')
  return result.error?.message ?? lines.at(-1) ?? `exit code ${result.status}`
}
