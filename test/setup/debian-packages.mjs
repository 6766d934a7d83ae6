/**
 * Installs the Debian packages that the tests use, where that is possible (root and apt). A test
 * whose program is still missing afterwards skips itself by name with the reason.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

/** Package → a file that proves it is there. */
const packages = [
  ['zookeeper', '/usr/share/java/zookeeper.jar'],
  ['default-jre-headless', '/usr/bin/java'],
  ['python3-venv', '/usr/share/doc/python3-venv'],
  ['chromium', '/usr/bin/chromium'],
]

/** Returns lines for people: what could not be installed, and why. */
export function installTestTools() {
  const wanted = packages.filter(([name, proof]) => !existsSync(proof) && !provided(name))
  if (wanted.length === 0) return []
  const names = wanted.map(([name]) => name)
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get'))
    return [`not installed (needs root and apt-get): ${names.join(', ')}`]
  const apt = (args) =>
    spawnSync('apt-get', args, {
      encoding: 'utf8',
      timeout: 600_000,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    })
  let run = apt(['install', '-y', '-qq', '--no-install-recommends', ...names])
  if (run.status !== 0) {
    apt(['update', '-qq'])
    run = apt(['install', '-y', '-qq', '--no-install-recommends', ...names])
  }
  if (run.status === 0) return [`installed: ${names.join(', ')}`]
  const why = (run.stderr || run.error?.message || '').trim().split('\n').pop()
  return [`could not install ${names.join(', ')}: ${why}`]
}

/** Tools that machines often have from elsewhere. */
function provided(name) {
  const probes = {
    'default-jre-headless': ['java', ['-version']],
    'python3-venv': ['python3', ['-c', 'import venv, ensurepip']],
  }
  const probe = probes[name]
  return probe !== undefined && spawnSync(probe[0], probe[1], { stdio: 'ignore' }).status === 0
}
