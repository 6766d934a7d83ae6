/**
 * Files with mappings (admin-ui.md 3.5): what each line wants, or what is wrong with it. Nothing is
 * compared with what is there yet (`change-sets.ts`). Reads in slices, so that a large file does not
 * hold up the event loop.
 */
import { parse } from 'csv-parse'
import { Readable } from 'node:stream'
import { Check, Errors } from 'typebox/value'
import { isTableName } from '../routing/mapping.ts'
import type { FieldError } from './api/problem.ts'
import { TablePatch } from './api/tables.ts'
import { ShapeError, jsonItems } from './json-items.ts'
import { fieldErrorsOf } from './schema-errors.ts'

export type ImportLine =
  | { readonly line: number; readonly name: string; readonly patch: TablePatch }
  /** The node's very text. */
  | { readonly line: number; readonly name: string; readonly text: string }
  | { readonly line: number; readonly name: string; readonly errors: readonly FieldError[] }

const LINES_MAX = 20_000
/** Of one turn of the event loop. */
const SLICE = 100
const CHUNK = 8 * 1024

/** `pause` lets others run. */
export async function readImport(
  format: 'json' | 'csv',
  text: string,
  pause: () => Promise<void>,
): Promise<readonly ImportLine[]> {
  const lines: ImportLine[] = []
  const seen = new Map<string, number>()
  const source = format === 'json' ? jsonLines(text) : csvLines(text)
  for await (const one of source) {
    if (lines.length >= LINES_MAX) {
      lines.push(invalid(one.line, '', '', `more than ${LINES_MAX} tables`))
      break
    }
    const first = seen.get(one.name)
    if (one.name === '' || first === undefined) lines.push(one)
    else lines.push(invalid(one.line, one.name, 'name', `is in line ${first} already`))
    if (first === undefined) seen.set(one.name, one.line)
    if (lines.length % SLICE === 0) await pause()
  }
  return lines.length === 0 ? [invalid(1, '', '', 'there is no table in it')] : lines
}

function invalid(line: number, name: string, field: string, message: string): ImportLine {
  return { line, name, errors: [{ field, message }] }
}

async function* jsonLines(text: string): AsyncGenerator<ImportLine> {
  try {
    for (const item of jsonItems(text)) yield jsonLine(item.line, item.text)
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error
    yield invalid(error.line, '', '', error.message)
  }
}

function jsonLine(line: number, text: string): ImportLine {
  let item: unknown
  try {
    item = JSON.parse(text)
  } catch (error) {
    return invalid(line, '', '', error instanceof Error ? error.message : 'not JSON')
  }
  if (typeof item !== 'object' || item === null || Array.isArray(item))
    return invalid(line, '', '', 'expected an object with name, cluster and metas')
  const { name, table, value, raw, ...rest } = item as Record<string, unknown>
  const named = name ?? table
  if (typeof named !== 'string' || !isTableName(named))
    return invalid(line, '', 'name', 'expected a table name of 1 to 255 bytes without /')
  if (typeof raw === 'string') return { line, name: named, text: raw }
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return { line, name: named, text: JSON.stringify(value) }
  return withPatch(line, named, { ...rest, ...listOf(rest['metas']) })
}

function listOf(metas: unknown): { readonly metas?: readonly string[] } {
  return typeof metas === 'string' ? { metas: splitMetas(metas) } : {}
}

function splitMetas(text: string): readonly string[] {
  return text.split(/[\s,;]+/).filter((address) => address !== '')
}

function withPatch(line: number, name: string, patch: Record<string, unknown>): ImportLine {
  if (Check(TablePatch, patch)) return { line, name, patch }
  return { line, name, errors: fieldErrorsOf(TablePatch, patch, Errors(TablePatch, patch)) }
}

const columns = ['table', 'cluster', 'metas', 'group', 'note'] as const

async function* csvLines(text: string): AsyncGenerator<ImportLine> {
  const parser = Readable.from(chunksOf(text)).pipe(
    parse({ bom: true, info: true, relax_column_count: true, skip_empty_lines: true, trim: true }),
  )
  let header: readonly string[] | undefined
  try {
    for await (const found of parser) {
      const { record, info } = found as {
        readonly record: readonly string[]
        readonly info: { readonly lines: number }
      }
      if (header === undefined) {
        header = record.map((cell) => cell.toLowerCase())
        const unknown = header.find((cell) => !columns.some((column) => column === cell))
        if (!header.includes('table') || unknown !== undefined) {
          const problem = unknown === undefined ? 'no column table' : `unknown column ${unknown}`
          yield invalid(info.lines, '', '', `${problem}; expected ${columns.join(',')}`)
          return
        }
      } else yield csvRecord(info.lines, header, record)
    }
  } catch (error) {
    const { lines = 1, message } = error as { readonly lines?: number; readonly message: string }
    yield invalid(lines, '', '', message)
  }
}

function* chunksOf(text: string): Generator<string> {
  for (let at = 0; at < text.length; at += CHUNK) yield text.slice(at, at + CHUNK)
}

function csvRecord(line: number, header: readonly string[], record: readonly string[]): ImportLine {
  const cell = (name: string): string | undefined => {
    const at = header.indexOf(name)
    // An apostrophe before a sign is how our export keeps spreadsheets from running a cell.
    return at < 0 ? undefined : (record[at] ?? '').replace(/^'(?=[=+\-@\t\r])/, '')
  }
  const name = cell('table') ?? ''
  if (record.length > header.length)
    return invalid(line, '', '', `${record.length} cells, but ${header.length} columns`)
  if (!isTableName(name))
    return invalid(line, '', 'table', 'expected a table name of 1 to 255 bytes without /')
  const patch: Record<string, unknown> = {}
  const cluster = cell('cluster') ?? ''
  if (cluster !== '') patch['cluster'] = cluster
  const metas = splitMetas(cell('metas') ?? '')
  if (metas.length > 0) patch['metas'] = metas
  for (const key of ['group', 'note']) {
    const value = cell(key)
    if (value !== undefined) patch[key] = value === '' ? null : value
  }
  return withPatch(line, name, patch)
}
