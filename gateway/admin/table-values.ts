/**
 * From what an author sends to the text of a node (gateway.md 3.1): a whole edit, a patch, a version of
 * the past. Pure; what is not possible is an `ApiError` that names the field.
 */
import {
  type Mapping,
  type MappingForm,
  OPTIONAL_KEYS,
  formatMapping,
  parseCluster,
  parseMapping,
  parseMetas,
} from '../routing/mapping.ts'
import type { FieldError } from './api/problem.ts'
import type { TableEdit, TablePatch } from './api/tables.ts'
import { badField } from './problem.ts'
import { invalid } from './schema-errors.ts'

export interface ValueRules {
  readonly writeForm: MappingForm
  /** Metas of a cluster's registry entry. */
  readonly metasOf: (cluster: string) => readonly string[] | undefined
}

type Optional = Partial<Record<(typeof OPTIONAL_KEYS)[number], unknown>>

/** The node's text after the edit; form and foreign keys of what was found are kept. */
export function textOfEdit(
  edit: TableEdit,
  found: Mapping | undefined,
  { writeForm, metasOf }: ValueRules,
): string {
  const errors: FieldError[] = []
  const cluster = parseCluster(edit.cluster, 'cluster')
  if (!cluster.ok) errors.push(cluster.problem)
  const given = edit.metas ?? (cluster.ok ? metasOf(cluster.value) : undefined)
  const metas = given === undefined ? undefined : parseMetas(given, 'metas')
  if (metas === undefined)
    errors.push({ field: 'metas', message: 'missing, and the cluster is not in the registry' })
  else if (!metas.ok) errors.push(metas.problem)
  if (!cluster.ok || metas === undefined || !metas.ok) throw invalid(errors)
  const optional: Optional = {}
  for (const key of OPTIONAL_KEYS) if (edit[key] !== undefined) optional[key] = edit[key]
  const data = formatMapping(
    { cluster: cluster.value, metas: metas.value, optional },
    found,
    writeForm,
  )
  return checkedText(data.toString('utf8'), 'note')
}

/** What the patch names is changed, what it sets to null is removed, all else stays. */
export function textOfPatch(
  patch: TablePatch,
  found: Mapping | undefined,
  rules: ValueRules,
): string {
  const cluster = patch.cluster ?? found?.cluster
  if (cluster === undefined)
    throw badField('cluster', 'the node holds no mapping: give the cluster and its metas')
  const movesAway = found !== undefined && cluster !== found.cluster
  const metas = patch.metas ?? (movesAway ? rules.metasOf(cluster) : found?.metas)
  const optional: Record<string, unknown> = {}
  for (const key of OPTIONAL_KEYS) {
    const value = patch[key] === undefined ? found?.raw[key] : patch[key]
    if (value !== undefined && value !== null) optional[key] = value
  }
  const edit = {
    cluster,
    ...(metas === undefined ? {} : { metas: [...metas] }),
    ...optional,
  }
  return textOfEdit(edit, found, rules)
}

/** Of a version in the past or an import: exactly that text, if it is a mapping. */
export function checkedText(text: string, field: string): string {
  const parsed = parseMapping(Buffer.from(text))
  if (!parsed.ok) {
    const { field: key, message } = parsed.problem
    throw badField(field, `would be no mapping: ${key === '' ? '' : `${key} `}${message}`)
  }
  return text
}

export function thaws(edit: TableEdit | TablePatch): boolean {
  return edit.frozen === false || edit.frozen === null
}
