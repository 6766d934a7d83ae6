/**
 * Configuration of a process: one schema holds every option with type, unit, range, default and a
 * sentence. Sources, later over earlier: defaults, file (YAML), environment, flags. All problems are
 * reported at once, each with its source, position and path; a key that the schema does not know is
 * a problem. The result is frozen and passed on explicitly; nothing else reads the environment.
 */
import { type SecretSource, resolveSecret } from './secrets.ts'
import { LineCounter, isMap, isScalar, parseDocument, type Document } from 'yaml'
import {
  section,
  type AnyEntries,
  type AnySection,
  type ConfigOf,
  type Section,
} from './options.ts'

export {
  address,
  choice,
  decimal,
  duration,
  flag,
  integer,
  list,
  optional,
  secret,
  section,
} from './options.ts'
export { size, text } from './options.ts'
export type { AnySection, ConfigOf, Option, Section } from './options.ts'

export interface ConfigSources {
  readonly fileText?: string
  /** For messages; `configuration` when left out. */
  readonly fileName?: string
  readonly environment: Readonly<Record<string, string | undefined>>
  /** By path, such as `rpc.port`. */
  readonly flags: Readonly<Record<string, string>>
  /** Such as METAPROXY: the variable of `rpc.port` is then METAPROXY_RPC_PORT. */
  readonly environmentPrefix: string
  /** Recognises a file of another program and puts it in our form; undefined when it is none. */
  readonly translate?: (root: unknown) => Translation | undefined
}

export interface Translation {
  /** In our form. */
  readonly root: unknown
  /** Our path → the path in the file that it comes from, for messages. */
  readonly cameFrom: Readonly<Record<string, string>>
  /** What an operator should know of the translation. */
  readonly notes: readonly string[]
}

export type LoadedConfig<T> =
  | {
      readonly ok: true
      readonly config: T
      /** Where each option's value comes from: `default`, `file:line`, `--flag`, or a variable. */
      readonly origins: ReadonlyMap<string, string>
      readonly notes: readonly string[]
    }
  | { readonly ok: false; readonly problems: readonly string[] }

const fileBytesMax = 1 << 20

/** The schema of a process. */
export function defineConfig<const Entries extends AnyEntries>(
  about: string,
  entries: Entries,
): Section<Entries> {
  return section(about, entries)
}

/** `rpc.port` → `METAPROXY_RPC_PORT`, `dataDirectory` → `METAPROXY_DATA_DIRECTORY`. */
export function environmentName(prefix: string, path: string): string {
  const words = path.replace(/([a-z0-9])([A-Z])/g, '$1_$2').replaceAll('.', '_')
  return `${prefix}_${words.toUpperCase()}`
}

export function loadConfig<Schema extends AnySection>(
  schema: Schema,
  sources: ConfigSources,
): LoadedConfig<ConfigOf<Schema>> {
  const problems: string[] = []
  const file = readFile(sources, problems)
  // Of a file that cannot be read nothing can be said to be missing.
  if (problems.length > 0) return { ok: false, problems }
  const origins = new Map<string, string>()
  const config = readSection(schema, '', file.root, { sources, file, problems, origins })
  for (const path of Object.keys(sources.flags))
    if (!origins.has(path)) problems.push(`--${path}: unknown option`)
  // The type follows the schema entry by entry: `readSection` builds exactly that shape.
  return problems.length > 0
    ? { ok: false, problems }
    : { ok: true, config: config as ConfigOf<Schema>, origins, notes: file.notes }
}

interface ReadFile {
  readonly root: unknown
  /** `name:line:column: path`, as far as the position is known. */
  readonly where: (path: string, part?: 'key' | 'value') => string
  readonly notes: readonly string[]
}

interface Reading {
  readonly sources: ConfigSources
  readonly file: ReadFile
  readonly problems: string[]
  /** Also: every option that the schema knows. */
  readonly origins: Map<string, string>
}

function readFile(sources: ConfigSources, problems: string[]): ReadFile {
  const name = sources.fileName ?? 'configuration'
  const where = (path: string): string => `${name}: ${path}`
  const nothing: ReadFile = { root: undefined, where, notes: [] }
  if (sources.fileText === undefined) return nothing
  if (Buffer.byteLength(sources.fileText) > fileBytesMax) {
    problems.push(`${name}: larger than ${fileBytesMax} bytes`)
    return nothing
  }
  const lines = new LineCounter()
  const document = parseDocument(sources.fileText, { lineCounter: lines, prettyErrors: false })
  const position = (offset: number): string => {
    const { line, col } = lines.linePos(offset)
    return `${name}:${line}:${col}`
  }
  if (document.errors.length > 0) {
    for (const error of document.errors)
      problems.push(`${position(error.pos[0])}: not valid YAML: ${error.message}`)
    return nothing
  }
  const place = (path: string, part: 'key' | 'value' = 'value'): string => {
    const offset = offsetOf(document, path.split('.'), part)
    return `${offset === undefined ? name : position(offset)}: ${path}`
  }
  try {
    const root: unknown = document.toJS({ maxAliasCount: 100 })
    const translated = sources.translate?.(root)
    if (translated === undefined) return { root, where: place, notes: [] }
    const { cameFrom, notes } = translated
    return {
      root: translated.root,
      where: (path, part) => place(cameFrom[path] ?? path, part),
      notes,
    }
  } catch (cause) {
    problems.push(`${name}: not valid YAML: ${cause instanceof Error ? cause.message : ''}`)
    return nothing
  }
}

function offsetOf(
  document: Document.Parsed,
  path: readonly string[],
  part: 'key' | 'value',
): number | undefined {
  let node: unknown = document.contents
  let offset: number | undefined
  for (const [depth, name] of path.entries()) {
    if (!isMap(node)) return offset
    const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === name)
    if (pair === undefined) return offset
    const key = isScalar(pair.key) ? pair.key.range?.[0] : undefined
    const value: unknown = pair.value
    const wanted = part === 'key' && depth === path.length - 1
    offset = (!wanted && isScalar(value) ? value.range?.[0] : key) ?? offset
    node = value
  }
  return offset
}

function readSection(
  schema: AnySection,
  path: string,
  raw: unknown,
  reading: Reading,
): Readonly<Record<string, unknown>> {
  const { file, problems } = reading
  const given = mapOf(raw)
  if (given === undefined) {
    const shown = JSON.stringify(raw).slice(0, 100)
    problems.push(
      path === ''
        ? `${file.where('').replace(/: $/, '')}: expected keys with values, found ${shown}`
        : `${file.where(path)}: expected a section with keys, found ${shown}`,
    )
  }
  const values = given ?? {}
  const under = (key: string): string => (path === '' ? key : `${path}.${key}`)
  for (const key of Object.keys(values))
    if (!Object.hasOwn(schema.entries, key))
      problems.push(`${file.where(under(key), 'key')}: unknown key`)
  const result: Record<string, unknown> = {}
  for (const [key, entry] of Object.entries(schema.entries)) {
    const inner = Object.hasOwn(values, key) ? values[key] : undefined
    result[key] =
      entry.kind === 'section'
        ? readSection(entry, under(key), inner, reading)
        : readOption(entry, under(key), inner, reading)
  }
  return Object.freeze(result)
}

function readOption(
  option: AnyEntries[string] & { readonly kind: 'option' },
  path: string,
  raw: unknown,
  { sources, file, problems, origins }: Reading,
): unknown {
  origins.set(path, 'default')
  const variable = environmentName(sources.environmentPrefix, path)
  const flagText = Object.hasOwn(sources.flags, path) ? sources.flags[path] : undefined
  const layers: readonly { from: SecretSource; where: () => string; raw: unknown }[] = [
    { from: 'flag', where: () => `--${path}`, raw: flagText },
    { from: 'environment', where: () => variable, raw: sources.environment[variable] },
    { from: 'file', where: () => file.where(path), raw: raw ?? undefined },
  ]
  const given = layers.find((layer) => layer.raw !== undefined)
  if (given === undefined) {
    if (option.initial !== undefined) return option.initial.value
    problems.push(`${path}: missing (${option.about})`)
    return undefined
  }
  const where = given.where()
  origins.set(path, where.replace(/(:\d+)?: .*$/s, ''))
  const reading =
    option.secret === true
      ? resolveSecret(given.raw, given.from, sources.environment)
      : { value: given.raw }
  const read = 'value' in reading ? option.read(reading.value) : reading
  if ('value' in read) return read.value
  problems.push(`${where}: ${read.problem}`)
  return undefined
}

/** Nothing given counts as an empty section. */
function mapOf(raw: unknown): Readonly<Record<string, unknown>> | undefined {
  if (raw === undefined || raw === null) return {}
  if (typeof raw !== 'object' || Array.isArray(raw)) return undefined
  return Object.fromEntries(Object.entries(raw))
}

/** Every option with its default, unit and sentence, for `--help` and the documents. */
export function describeConfig(schema: AnySection, path = ''): readonly string[] {
  return Object.entries(schema.entries).flatMap(([key, entry]) => {
    const under = path === '' ? key : `${path}.${key}`
    if (entry.kind === 'section') return describeConfig(entry, under)
    const initial = entry.initial
    const shown =
      initial === undefined
        ? 'required'
        : initial.value === undefined
          ? 'optional'
          : `default ${JSON.stringify(initial.value)}`
    const mark = entry.reloadable === true ? '; reloadable' : ''
    return [`${under}  ${entry.about} (${shown}${mark})`]
  })
}

/** One option as it is in force. */
export interface EffectiveOption {
  readonly path: string
  /** Of a secret only whether it is set: `***`; null when not given. */
  readonly value: unknown
  /** `default`, `file:line`, `--flag` or the name of the variable. */
  readonly source: string
  readonly reloadable: boolean
  readonly about: string
}

/** Every option with its value and where that comes from, for people; secrets masked. */
export function effectiveConfig(
  schema: AnySection,
  config: unknown,
  origins: ReadonlyMap<string, string>,
  path = '',
): readonly EffectiveOption[] {
  const values = mapOf(config) ?? {}
  return Object.entries(schema.entries).flatMap(([key, entry]) => {
    const under = path === '' ? key : `${path}.${key}`
    if (entry.kind === 'section') return effectiveConfig(entry, values[key], origins, under)
    const value = values[key] ?? null
    return {
      path: under,
      value: entry.secret === true && value !== null ? '***' : value,
      source: origins.get(under) ?? 'default',
      reloadable: entry.reloadable === true,
      about: entry.about,
    }
  })
}
