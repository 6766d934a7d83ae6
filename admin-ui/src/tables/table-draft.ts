/**
 * A mapping while it is edited: text as the form holds it, and back to what the API takes. Pure. The
 * same draft can be written as JSON, for the form's raw side; what is wrong there is told with its
 * line.
 */
import type { Table, TableEdit } from '../../../gateway/admin/api/tables.ts'

export interface TableDraft {
  readonly name: string
  readonly cluster: string
  /** One address a line, or with commas. */
  readonly metas: string
  readonly group: string
  readonly note: string
  readonly frozen: boolean
  /** '' is the gateways' own policy. */
  readonly stale: string
  readonly standby: string
}

export const emptyDraft: TableDraft = {
  name: '',
  cluster: '',
  metas: '',
  group: '',
  note: '',
  frozen: false,
  stale: '',
  standby: '',
}

export function draftOf(table: Table): TableDraft {
  return {
    name: table.name,
    cluster: table.cluster ?? '',
    metas: table.metas?.join('\n') ?? '',
    group: table.group ?? '',
    note: table.note ?? '',
    frozen: table.frozen ?? false,
    stale: table.stale ?? '',
    standby: table.standby ?? '',
  }
}

export function metasOf(text: string): readonly string[] {
  return text.split(/[\s,;]+/).filter((meta) => meta !== '')
}

/** Empty fields are left out: an optional key is then removed, metas are the cluster's own. */
export function editOf(draft: TableDraft): TableEdit {
  const metas = metasOf(draft.metas)
  return {
    cluster: draft.cluster.trim(),
    ...(metas.length === 0 ? {} : { metas: [...metas] }),
    ...(draft.group.trim() === '' ? {} : { group: draft.group.trim() }),
    ...(draft.note === '' ? {} : { note: draft.note }),
    ...(draft.frozen ? { frozen: true } : {}),
    ...(draft.stale === '' ? {} : { stale: draft.stale }),
    ...(draft.standby.trim() === '' ? {} : { standby: draft.standby.trim() }),
  }
}

export function isSameDraft(one: TableDraft, other: TableDraft): boolean {
  return one.name === other.name && JSON.stringify(editOf(one)) === JSON.stringify(editOf(other))
}

export type RawDraft =
  | { readonly ok: true; readonly draft: TableDraft }
  /** `line` counts from 1; undefined when it cannot be told. */
  | { readonly ok: false; readonly line: number | undefined; readonly message: string }

const textKeys = ['cluster', 'group', 'note', 'stale', 'standby'] as const

function lineOf(text: string, message: string): number | undefined {
  const position = /position (\d+)/.exec(message)?.[1]
  if (position !== undefined) return text.slice(0, Number(position)).split('\n').length
  const line = /line (\d+)/.exec(message)?.[1]
  return line === undefined ? undefined : Number(line)
}

function lineOfKey(text: string, key: string): number | undefined {
  const at = text.indexOf(`"${key}"`)
  return at < 0 ? undefined : text.slice(0, at).split('\n').length
}

/** The raw side of the form, read back into the draft it was made from. */
export function parseRaw(text: string, name: string): RawDraft {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    const message = error instanceof Error ? error.message : ''
    return { ok: false, line: lineOf(text, message), message }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return { ok: false, line: 1, message: 'expected an object { … }' }
  const wrong = (key: string, expected: string): RawDraft => ({
    ok: false,
    line: lineOfKey(text, key),
    message: `${key}: expected ${expected}`,
  })
  const record = value as Readonly<Record<string, unknown>>
  const draft: Record<string, unknown> = { ...emptyDraft, name }
  for (const [key, found] of Object.entries(record))
    if (key === 'metas') {
      const isList = Array.isArray(found) && found.every((meta) => typeof meta === 'string')
      if (!isList) return wrong(key, 'a list of "host:port"')
      draft[key] = found.join('\n')
    } else if (key === 'frozen') {
      if (typeof found !== 'boolean') return wrong(key, 'true or false')
      draft[key] = found
    } else if ((textKeys as readonly string[]).includes(key)) {
      if (typeof found !== 'string') return wrong(key, 'text')
      draft[key] = found
    } else return wrong(key, `one of ${[...textKeys, 'metas', 'frozen'].join(', ')}`)
  return { ok: true, draft: draft as unknown as TableDraft }
}

export function formatRaw(draft: TableDraft): string {
  return JSON.stringify(editOf(draft), null, 2)
}

/** What the API found wrong, with the lines of the raw side that it is about; not what is of the name. */
export function rawErrors(
  text: string,
  errors: Readonly<Record<string, string>>,
): readonly { readonly line: number | undefined; readonly message: string }[] {
  return Object.entries(errors)
    .filter(([field]) => field !== 'name')
    .map(([field, message]) => {
      const [key = '', item] = field.split('.')
      const line = lineOfKey(text, key)
      // `formatRaw` gives each address a line of its own, after that of the key.
      const isLaidOut = item !== undefined && text.includes(`"${key}": [\n`)
      return {
        line: line !== undefined && isLaidOut ? line + 1 + Number(item) : line,
        message: `${field}: ${message}`,
      }
    })
}

const NAME_BYTES_MAX = 255

/** A name that may be that of a node: the rule of the gateway, told while it is typed. */
export function isTableName(name: string): boolean {
  if (name === '' || name === '.' || name === '..') return false
  if (new TextEncoder().encode(name).length > NAME_BYTES_MAX) return false
  return !/[/\p{Cc}\p{Cs}\u{e000}-\u{f8ff}\u{fff0}-\u{10ffff}]/u.test(name)
}

/** Of a cluster or a group. */
export function isNodeName(name: string): boolean {
  return isTableName(name) && !/\s/.test(name)
}
