/**
 * A Python with the official Pegasus client from PyPI (`pypegasus3`, which brings Twisted and an old
 * Thrift; works up to Python 3.11 at least). It lives in a virtual environment that is made on first
 * use and kept in a cache folder. Missing Python or an unreachable registry is a reason to leave out
 * the suites that need it, not a failure.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** The release that the suites were written against. */
const requirement = 'pypegasus3==0.0.1.1'
const cacheFolder = resolve('node_modules/.cache/metaproxy-python-client')
const installMsMax = 300_000

export type PythonClient =
  | { readonly python: string; readonly missing?: undefined }
  /** Why there is none, in a few words. */
  | { readonly missing: string }

export function pythonClient(): PythonClient {
  const ready = pythonOf(cacheFolder)
  if (imports(ready)) return { python: ready }
  const version = run('python3', ['-c', 'import sys, venv; print(sys.version)'])
  if (version.error !== undefined)
    return { missing: 'python3 with its venv module is not installed' }
  // What an interrupted installation left is wiped and made again.
  rmSync(cacheFolder, { recursive: true, force: true })
  mkdirSync(cacheFolder, { recursive: true })
  const made = run('python3', ['-m', 'venv', cacheFolder])
  if (made.error !== undefined) return { missing: `python3 -m venv failed: ${made.error}` }
  const options = ['--quiet', '--disable-pip-version-check', '--no-input']
  const installed = run(ready, ['-m', 'pip', 'install', ...options, requirement])
  if (installed.error !== undefined)
    return { missing: `pip install ${requirement} failed: ${installed.error}` }
  return imports(ready)
    ? { python: ready }
    : { missing: `${requirement} is installed and cannot be imported by this Python` }
}

function pythonOf(folder: string): string {
  return join(folder, 'bin', 'python')
}

/** The client opens a log file in the current folder when it is imported: there shall be none. */
function imports(python: string): boolean {
  if (!existsSync(python)) return false
  const program =
    "import importlib.util as u, twisted.internet.defer; assert u.find_spec('pypegasus.pgclient')"
  return run(python, ['-W', 'ignore', '-c', program]).error === undefined
}

/** `error` is the last line that the program wrote to its standard error. */
function run(command: string, words: readonly string[]): { readonly error?: string } {
  const result = spawnSync(command, words, { encoding: 'utf8', timeout: installMsMax })
  if (result.status === 0) return {}
  const lines = (result.stderr ?? '').trim().split('\n')
  return { error: result.error?.message ?? lines.at(-1) ?? `exit code ${result.status}` }
}
