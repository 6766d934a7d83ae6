/**
 * Configuration of a process: one schema holds every option with type, unit, range, default and a
 * sentence. Sources, later over earlier: defaults, file (YAML), environment, flags. All problems are
 * reported at once, each with its source, position and path; a key that the schema does not know is
 * a problem. The result is frozen and passed on explicitly; nothing else reads the environment.
 */
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
}

export type LoadedConfig<T> =
  | { readonly ok: true; readonly config: T }
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
  const known = new Set<string>()
  const config = readSection(schema, '', file.root, { sources, file, problems, known })
  for (const path of Object.keys(sources.flags))
    if (!known.has(path)) problems.push(`--${path}: unknown option`)
  // The type follows the schema entry by entry: `readSection` builds exactly that shape.
  return problems.length > 0
    ? { ok: false, problems }
    : { ok: true, config: config as ConfigOf<Schema> }
}

interface ReadFile {
  readonly root: unknown
  /** `name:line:column: path`, as far as the position is known. */
  readonly where: (path: string, part?: 'key' | 'value') => string
}

interface Reading {
  readonly sources: ConfigSources
  readonly file: ReadFile
  readonly problems: string[]
  readonly known: Set<string>
}

function readFile(sources: ConfigSources, problems: string[]): ReadFile {
  const name = sources.fileName ?? 'configuration'
  const nothing: ReadFile = { root: undefined, where: (path) => `${name}: ${path}` }
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
  const where = (path: string, part: 'key' | 'value' = 'value'): string => {
    const offset = offsetOf(document, path.split('.'), part)
    return `${offset === undefined ? name : position(offset)}: ${path}`
  }
  try {
    return { root: document.toJS({ maxAliasCount: 100 }), where }
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
  { sources, file, problems, known }: Reading,
): unknown {
  known.add(path)
  const variable = environmentName(sources.environmentPrefix, path)
  const flagText = Object.hasOwn(sources.flags, path) ? sources.flags[path] : undefined
  const layers = [
    { where: () => `--${path}`, raw: flagText },
    { where: () => variable, raw: sources.environment[variable] },
    { where: () => file.where(path), raw: raw ?? undefined },
  ]
  const given = layers.find((layer) => layer.raw !== undefined)
  if (given === undefined) {
    if (option.initial !== undefined) return option.initial.value
    problems.push(`${path}: missing (${option.about})`)
    return undefined
  }
  const reading = option.read(given.raw)
  if ('value' in reading) return reading.value
  problems.push(`${given.where()}: ${reading.problem}`)
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
    return [`${under}  ${entry.about} (${shown})`]
  })
}
