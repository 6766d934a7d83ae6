/**
 * The kinds of options that a configuration schema is made of: each reads its value from YAML or
 * from text (environment, flags) and says what it expected. Pure; loading and layering of the
 * sources are in `config.ts`.
 */

/** What reading gives: the value, or the problem in words ("expected …, found …"). */
export type OptionReading<T> = { readonly value: T } | { readonly problem: string }

export interface Option<T> {
  readonly kind: 'option'
  /** One sentence: what it is for, with the unit. */
  readonly about: string
  /** Absent means that the option must be given. */
  readonly initial?: { readonly value: T }
  /** A running process takes a new value when it reads its configuration again. */
  readonly reloadable?: true
  /** Given by reference (`secrets.ts`), and never shown. */
  readonly secret?: true
  /** `raw` is what YAML holds, or text from the environment or a flag. */
  readonly read: (raw: unknown) => OptionReading<T>
}

export interface Section<Entries> {
  readonly kind: 'section'
  readonly about: string
  readonly entries: Entries
}

export type AnyEntries = { readonly [key: string]: Option<unknown> | AnySection }
export interface AnySection extends Section<AnyEntries> {}

type ValueOf<Entry> =
  Entry extends Option<infer T> ? T : Entry extends Section<infer Inner> ? ValuesOf<Inner> : never
type ValuesOf<Entries> = { readonly [Key in keyof Entries]: ValueOf<Entries[Key]> }

/** The type of a loaded configuration; `Schema` is what `section` or `defineConfig` answered. */
export type ConfigOf<Schema extends AnySection> = ValuesOf<Schema['entries']>

/** Marks options and whole sections of a schema, by key: a running process takes new values. */
export function reloadable<const Entries extends AnyEntries>(
  schema: Section<Entries>,
  keys: readonly (keyof Entries & string)[],
): Section<Entries> {
  const marked = Object.entries(schema.entries).map(([key, entry]) =>
    keys.includes(key) ? [key, markedEntry(entry)] : [key, entry],
  )
  // The mark changes no type: same kinds, same keys.
  return { ...schema, entries: Object.fromEntries(marked) as Entries }
}

function markedEntry(entry: Option<unknown> | AnySection): Option<unknown> | AnySection {
  return entry.kind === 'option'
    ? { ...entry, reloadable: true }
    : reloadable(entry, Object.keys(entry.entries))
}

interface Described<T> {
  readonly about: string
  readonly default?: T
}

function option<T>(described: Described<T>, read: (raw: unknown) => OptionReading<T>): Option<T> {
  const { about } = described
  return {
    kind: 'option',
    about,
    read,
    ...(described.default === undefined ? {} : { initial: { value: described.default } }),
  }
}

function found(expected: string, raw: unknown): { readonly problem: string } {
  const shown = raw === undefined ? 'nothing' : JSON.stringify(raw)
  return { problem: `expected ${expected}, found ${shown.slice(0, 100)}` }
}

export function section<const Entries extends AnyEntries>(
  about: string,
  entries: Entries,
): Section<Entries> {
  return { kind: 'section', about, entries }
}

/** Text; `pattern` with `expected` in words when not anything goes. */
export function text(
  options: Described<string> & {
    readonly pattern?: RegExp
    readonly expected?: string
    readonly maxLength?: number
  },
): Option<string> {
  const { pattern, maxLength = 4096 } = options
  const expected = options.expected ?? `text of up to ${maxLength} characters`
  return option(options, (raw) => {
    // An unquoted number or word such as `yes` in YAML is text where text is asked for.
    const value = typeof raw === 'number' || typeof raw === 'boolean' ? String(raw) : raw
    if (typeof value !== 'string' || value.length > maxLength) return found(expected, raw)
    return pattern !== undefined && !pattern.test(value) ? found(expected, raw) : { value }
  })
}

/** Text that nobody may see; in files and flags only a reference to it stands (`secrets.ts`). */
export function secret(options: { readonly about: string }): Option<string> {
  const read = text({ about: options.about }).read
  return {
    kind: 'option',
    about: `${options.about}; file:PATH or env:NAME`,
    read: (raw) => {
      const reading = read(raw)
      return 'value' in reading && reading.value !== ''
        ? reading
        : { problem: 'expected text, found nothing or something else (not shown)' }
    },
    secret: true,
  }
}

function numberOf(raw: unknown): number | undefined {
  if (typeof raw === 'number') return raw
  if (typeof raw === 'string' && /^-?\d+(\.\d+)?$/.test(raw)) return Number(raw)
  return undefined
}

/** A whole number. */
export function integer(
  options: Described<number> & {
    readonly min: number
    readonly max: number
    readonly unit?: string
  },
): Option<number> {
  const { min, max, unit } = options
  const expected = `a whole number${unit === undefined ? '' : ` of ${unit}`} from ${min} to ${max}`
  return option(options, (raw) => {
    const value = numberOf(raw)
    if (value === undefined || !Number.isSafeInteger(value)) return found(expected, raw)
    return value < min || value > max ? found(expected, raw) : { value }
  })
}

/** A number with fraction, such as a ratio. */
export function decimal(
  options: Described<number> & { readonly min: number; readonly max: number },
): Option<number> {
  const { min, max } = options
  return option(options, (raw) => {
    const value = numberOf(raw)
    return value === undefined || !(value >= min && value <= max)
      ? found(`a number from ${min} to ${max}`, raw)
      : { value }
  })
}

export function flag(options: Described<boolean>): Option<boolean> {
  return option(options, (raw) => {
    if (raw === true || raw === 'true') return { value: true }
    if (raw === false || raw === 'false') return { value: false }
    return found('true or false', raw)
  })
}

function scaled(
  raw: unknown,
  units: Readonly<Record<string, number>>,
  bare: number,
): number | undefined {
  const plain = numberOf(raw)
  if (plain !== undefined) return plain * bare
  const [, amount = '', unit = ''] = /^(\d+(?:\.\d+)?)\s*([A-Za-z]+)$/.exec(String(raw)) ?? []
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined
  return factor === undefined ? undefined : Number(amount) * factor
}

const milliseconds = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** Milliseconds: a plain number, or text such as `500ms`, `10s`, `5m`, `2h`, `1d`. */
export function duration(
  options: Described<number> & { readonly min: number; readonly max: number },
): Option<number> {
  const { min, max } = options
  const expected = `milliseconds from ${min} to ${max} (or such as 500ms, 10s, 5m, 2h, 1d)`
  return option(options, (raw) => {
    const value = scaled(raw, milliseconds, 1)
    return value === undefined || value < min || value > max ? found(expected, raw) : { value }
  })
}

const bytes = { B: 1, KiB: 1024, MiB: 1 << 20, GiB: 1 << 30, TiB: 2 ** 40 } as const

/** Bytes: a plain number, or text such as `64KiB`, `32MiB`, `1GiB`. */
export function size(
  options: Described<number> & { readonly min: number; readonly max: number },
): Option<number> {
  const { min, max } = options
  const expected = `bytes from ${min} to ${max} (or such as 64KiB, 32MiB, 1GiB)`
  return option(options, (raw) => {
    const value = scaled(raw, bytes, 1)
    if (value === undefined || !Number.isSafeInteger(value)) return found(expected, raw)
    return value < min || value > max ? found(expected, raw) : { value }
  })
}

/** `host:port` as text. */
export function address(options: Described<string>): Option<string> {
  return option(options, (raw) => {
    const [, host = '', port = ''] = /^([A-Za-z0-9._-]{1,253}):(\d{1,5})$/.exec(String(raw)) ?? []
    return host === '' || Number(port) > 65_535 || typeof raw !== 'string'
      ? found('an address HOST:PORT', raw)
      : { value: raw }
  })
}

export function choice<const T extends string>(
  options: Described<NoInfer<T>> & { readonly of: readonly T[] },
): Option<T> {
  return option(options, (raw) => {
    // YAML 1.2 knows no `on` and `off`, but `true` written for `on` is a mistake worth a message.
    const value = options.of.find((known) => known === raw)
    return value === undefined ? found(`one of ${options.of.join(', ')}`, raw) : { value }
  })
}

/** A YAML sequence, or text with commas. Each item is read by `of`. */
export function list<T>(
  options: Described<readonly T[]> & {
    readonly of: Option<T>
    readonly minItems?: number
    readonly maxItems: number
  },
): Option<readonly T[]> {
  const { of, minItems = 0, maxItems } = options
  return option(options, (raw) => {
    const items = typeof raw === 'string' ? raw.split(',').map((item) => item.trim()) : raw
    if (!Array.isArray(items)) return found('a list', raw)
    if (items.length < minItems || items.length > maxItems)
      return { problem: `expected ${minItems} to ${maxItems} items, found ${items.length}` }
    const values: T[] = []
    for (const [index, item] of items.entries()) {
      const reading = of.read(item)
      if ('problem' in reading) return { problem: `item ${index + 1}: ${reading.problem}` }
      values.push(reading.value)
    }
    return { value: Object.freeze(values) }
  })
}

/**
 * A YAML sequence of sections that have the same options; as text it is JSON. Its items are one
 * option: given by the file, the environment or a flag as a whole.
 */
export function sections<const Entries extends Readonly<Record<string, Option<unknown>>>>(options: {
  readonly about: string
  readonly of: Section<Entries>
  readonly maxItems: number
}): Option<readonly ValuesOf<Entries>[]> {
  const { about, of, maxItems } = options
  return option({ about, default: [] }, (raw) => {
    const items = typeof raw === 'string' ? jsonOf(raw) : raw
    if (!Array.isArray(items)) return found('a list of sections', raw)
    if (items.length > maxItems)
      return { problem: `expected up to ${maxItems} items, found ${items.length}` }
    const values: ValuesOf<Entries>[] = []
    for (const [index, item] of items.entries()) {
      const reading = readItem(of, item)
      if ('problem' in reading) return { problem: `item ${index + 1}: ${reading.problem}` }
      values.push(reading.value)
    }
    return { value: Object.freeze(values) }
  })
}

function readItem<Entries extends Readonly<Record<string, Option<unknown>>>>(
  of: Section<Entries>,
  item: unknown,
): OptionReading<ValuesOf<Entries>> {
  if (typeof item !== 'object' || item === null || Array.isArray(item))
    return found('a section with keys', item)
  const given: Readonly<Record<string, unknown>> = { ...item }
  for (const key of Object.keys(given))
    if (!Object.hasOwn(of.entries, key)) return { problem: `${key}: unknown key` }
  const values: Record<string, unknown> = {}
  for (const [key, entry] of Object.entries(of.entries)) {
    const raw = given[key] ?? undefined
    if (raw === undefined && entry.initial === undefined)
      return { problem: `${key}: missing (${entry.about})` }
    const reading = raw === undefined ? entry.initial : entry.read(raw)
    if (reading === undefined) continue
    if ('problem' in reading) return { problem: `${key}: ${reading.problem}` }
    values[key] = reading.value
  }
  // Every key of the section was read by its own option.
  return { value: Object.freeze(values) as ValuesOf<Entries> }
}

function jsonOf(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

/** May be left out: then its value is undefined. */
export function optional<T>(inner: Option<T>): Option<T | undefined> {
  return { ...inner, initial: { value: undefined } }
}
