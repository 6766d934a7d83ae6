/**
 * Where secrets come from. A configuration file and a command line are read by many, so they hold only
 * a reference: `file:PATH` (a mounted secret; one line break at its end is not part of it) or
 * `env:NAME`. An environment variable of the option itself may also hold the secret as it is. No
 * message ever shows a value.
 */
import { readFileSync } from 'node:fs'
import { systemError } from './system-error.ts'

/** The layer of the configuration that holds the reference. */
export type SecretSource = 'file' | 'environment' | 'flag'

const secretBytesMax = 64 * 1024
const expected = 'expected a reference, file:PATH or env:NAME'

export function resolveSecret(
  raw: unknown,
  from: SecretSource,
  environment: Readonly<Record<string, string | undefined>>,
): { readonly value: string } | { readonly problem: string } {
  if (typeof raw !== 'string') return { problem: `${expected}, found something else (not shown)` }
  const [, kind, name = ''] = /^(file|env):(.+)$/s.exec(raw) ?? []
  if (kind === 'file') return readSecret(name)
  if (kind === 'env') {
    const value = environment[name]
    return value === undefined || value === ''
      ? { problem: `the environment variable ${name} is not set` }
      : { value }
  }
  return from === 'environment'
    ? { value: raw }
    : { problem: `${expected}, found the secret itself (not shown)` }
}

function readSecret(path: string): { readonly value: string } | { readonly problem: string } {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    return { problem: systemError(`cannot read ${path}`, cause).message }
  }
  if (Buffer.byteLength(text) > secretBytesMax)
    return { problem: `${path} is larger than ${secretBytesMax} bytes` }
  const value = text.replace(/\r?\n$/, '')
  return value === '' ? { problem: `${path} is empty` } : { value }
}
