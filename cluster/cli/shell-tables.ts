/** The shell's commands for mappings. */
import {
  type CommandInput,
  type CommandOutput,
  type Json,
  type ShellCommand,
  asList,
  asObject,
  at,
  dryRun,
  flag,
  list,
  queryOf,
  wordsOf,
} from './shell-command.ts'
import { applied, changeFlags, checkLines, putHeaders, seen } from './shell-changes.ts'
import { type ApiAnswer, ShellError } from './shell-http.ts'
import { columns, facts, plain } from './shell-print.ts'

const filters = ['q', 'cluster', 'group', 'state', 'invalid', 'changed']
const optional = ['group', 'note', 'stale', 'standby', 'frozen']
const PAGE = '500'

export const tableCommands: readonly ShellCommand[] = [
  {
    name: 'tables list',
    words: '',
    about: 'mappings; all pages with --all',
    flags: [...filters, 'sort', 'limit', 'all'],
    run: listTables,
  },
  {
    name: 'tables get',
    words: 'NAME',
    about: 'one mapping',
    flags: [],
    run: async (input) => {
      const [name = ''] = wordsOf(input, 'NAME')
      return tableOutput((await input.api.call(`/tables/${at(name)}`)).json)
    },
  },
  {
    name: 'tables set',
    words: 'NAME --cluster C [--metas A,B]',
    about: 'the whole mapping; --create for a new one',
    flags: ['cluster', 'metas', ...optional, 'create', ...changeFlags],
    run: setTable,
  },
  {
    name: 'tables patch',
    words: 'NAME KEY=VALUE …',
    about: 'parts of a mapping; KEY= removes a key',
    flags: changeFlags,
    run: patchTable,
  },
  {
    name: 'tables delete',
    words: 'NAME',
    about: 'delete a mapping',
    flags: changeFlags,
    run: async (input) => {
      const [name = ''] = wordsOf(input, 'NAME')
      const headers = {
        ...input.changeHeaders,
        'if-match': await seen(input, `/tables/${at(name)}`),
      }
      const path = `/tables/${at(name)}${dryRun(input)}`
      return changeOutput(input, name, await input.api.call(path, { method: 'DELETE', headers }))
    },
  },
  {
    name: 'tables history',
    words: 'NAME',
    about: 'versions, newest first',
    flags: [],
    run: async (input) => {
      const [name = ''] = wordsOf(input, 'NAME')
      const { json } = await input.api.call(`/tables/${at(name)}/history`)
      const rows = asList(asObject(json)['entries']).map((entry) =>
        ['id', 'at', 'actor', 'source', 'action', 'reason', 'after'].map((key) => entry[key]),
      )
      const head = ['ID', 'AT', 'ACTOR', 'SOURCE', 'ACTION', 'REASON', 'AFTER']
      return { json, text: columns(head, rows) }
    },
  },
  {
    name: 'tables revert',
    words: 'NAME ID',
    about: 'go back to a version of the history; --before: to before that change',
    flags: ['before', ...changeFlags],
    run: revertTable,
  },
  {
    name: 'tables probe',
    words: 'NAME',
    about: 'ask the meta servers now',
    flags: ['metas'],
    run: probeTable,
  },
  {
    name: 'tables import',
    words: 'FILE',
    about: 'what a file would change; --apply to change it',
    flags: ['format', 'mode', 'apply', 'reason'],
    run: importTables,
  },
  {
    name: 'tables export',
    words: '',
    about: 'a file of mappings, JSON or CSV',
    flags: ['format', 'out', ...filters],
    run: async (input) => {
      wordsOf(input)
      const { text, json } = await input.api.call(
        `/tables:export${queryOf(input, ['format', ...filters])}`,
      )
      const out = flag(input, 'out')
      if (out === undefined) return { json: json ?? text, text: text.trimEnd() }
      await input.writeFile(out, text)
      return { json: { written: out }, text: `written to ${out}` }
    },
  },
]

async function listTables(input: CommandInput): Promise<CommandOutput> {
  wordsOf(input)
  const tables: Json[] = []
  let cursor: string | undefined
  let json: Json
  const isAll = flag(input, 'all') !== undefined
  do {
    const more = {
      ...(isAll ? { limit: PAGE } : {}),
      ...(cursor === undefined ? {} : { cursor }),
    }
    const query = queryOf(input, [...filters, 'sort', ...(isAll ? [] : ['limit'])], more)
    json = asObject((await input.api.call(`/tables${query}`)).json)
    tables.push(...asList(json['tables']))
    cursor = typeof json['cursor'] === 'string' ? json['cursor'] : undefined
    if (!isAll) break
  } while (cursor !== undefined)
  const rows = tables.map((table) =>
    ['name', 'state', 'cluster', 'metas', 'group', 'modifiedAt'].map((key) => table[key]),
  )
  const shown = columns(['NAME', 'STATE', 'CLUSTER', 'METAS', 'GROUP', 'MODIFIED'], rows)
  const rest =
    cursor === undefined ? '' : `\n${tables.length} of ${plain(json['total'])}; --all for the rest`
  return { json: { ...json, tables }, text: `${shown}${rest}` }
}

async function setTable(input: CommandInput): Promise<CommandOutput> {
  const [name = ''] = wordsOf(input, 'NAME')
  const cluster = flag(input, 'cluster')
  if (cluster === undefined) throw new ShellError('--cluster is needed', { isUsage: true })
  const metas = flag(input, 'metas')
  const body: Record<string, unknown> = { cluster }
  if (metas !== undefined) body['metas'] = list(metas)
  for (const key of optional) {
    const value = flag(input, key)
    if (value !== undefined) body[key] = valueOf(key, value)
  }
  const path = `/tables/${at(name)}`
  const headers = await putHeaders(input, path)
  const answer = await input.api.call(`${path}${dryRun(input)}`, { method: 'PUT', body, headers })
  return changeOutput(input, name, answer)
}

async function patchTable(input: CommandInput): Promise<CommandOutput> {
  const [name, ...assignments] = input.plain
  if (name === undefined || assignments.length === 0)
    throw new ShellError('expected NAME KEY=VALUE …', { isUsage: true })
  const body: Record<string, unknown> = {}
  for (const assignment of assignments) {
    const [, key, value = ''] = /^([a-z]+)=(.*)$/s.exec(assignment) ?? []
    if (key === undefined)
      throw new ShellError(`expected KEY=VALUE, found ${assignment}`, { isUsage: true })
    body[key] = value === '' ? null : valueOf(key, value)
  }
  const answer = await input.api.call(`/tables/${at(name)}${dryRun(input)}`, {
    method: 'PATCH',
    body,
    headers: { ...input.changeHeaders, 'if-match': await seen(input, `/tables/${at(name)}`) },
  })
  return changeOutput(input, name, answer)
}

function valueOf(key: string, value: string): unknown {
  if (key === 'metas') return list(value)
  if (key !== 'frozen') return value
  if (value !== 'true' && value !== 'false')
    throw new ShellError('frozen: expected true or false', { isUsage: true })
  return value === 'true'
}

async function revertTable(input: CommandInput): Promise<CommandOutput> {
  const [name = '', id = ''] = wordsOf(input, 'NAME', 'ID')
  if (!/^\d+$/.test(id))
    throw new ShellError('ID: expected a number of the history', { isUsage: true })
  let precondition: Readonly<Record<string, string>>
  try {
    precondition = { 'if-match': await seen(input, `/tables/${at(name)}`) }
  } catch (error) {
    const { code } = asObject(error instanceof ShellError ? error.problem : undefined)
    if (code !== 'not-found') throw error
    precondition = { 'if-none-match': '*' }
  }
  const side = flag(input, 'before') === undefined ? 'after' : 'before'
  const answer = await input.api.call(`/tables/${at(name)}:revert${dryRun(input)}`, {
    method: 'POST',
    body: { to: Number(id), side },
    headers: { ...input.changeHeaders, ...precondition },
  })
  return changeOutput(input, name, answer)
}

async function probeTable(input: CommandInput): Promise<CommandOutput> {
  const [name = ''] = wordsOf(input, 'NAME')
  const metas = flag(input, 'metas')
  const body = metas === undefined ? {} : { metas: list(metas) }
  const { json } = await input.api.call(`/tables/${at(name)}:probe`, { method: 'POST', body })
  const result = asObject(json)
  const checks = asList(result['checks'])
  const lines = checkLines(checks)
  const rows = asList(result['partitions']).map((partition) =>
    ['index', 'health', 'primary', 'secondaries'].map((key) => partition[key]),
  )
  const partitions = columns(['PARTITION', 'HEALTH', 'PRIMARY', 'SECONDARIES'], rows)
  return {
    json,
    text: rows.length === 0 ? lines : `${lines}\n\n${partitions}`,
    failed: checks.some(({ level }) => level !== 'ok'),
  }
}

async function importTables(input: CommandInput): Promise<CommandOutput> {
  const [path = ''] = wordsOf(input, 'FILE')
  const text = await input.readFile(path)
  const format = flag(input, 'format') ?? (path.endsWith('.csv') ? 'csv' : 'json')
  const mode = flag(input, 'mode') ?? 'merge'
  const { json } = await input.api.call('/tables:import', {
    method: 'POST',
    body: { format, mode, text },
  })
  const set = asObject(json)
  const shown = asList(set['items'])
    .filter(({ kind }) => kind !== 'same')
    .map((item) => {
      const errors = asList(item['errors']).map(
        ({ field, message }) => `${plain(field)} ${plain(message)}`,
      )
      const what = item['kind'] === 'invalid' ? errors.join('; ') : item['after']
      return [item['kind'], item['line'], item['name'], what]
    })
  const preview = columns(['CHANGE', 'LINE', 'TABLE', 'WHAT'], shown)
  const counts = facts(asObject(set['counts']))
  const hasInvalid = asObject(set['counts'])['invalid'] !== 0
  return applied(input, { json, shown: `${preview}\n\n${counts}`, hasInvalid })
}

function tableOutput(json: unknown): CommandOutput {
  return { json, text: facts(asObject(json)) }
}

function changeOutput(input: CommandInput, name: string, answer: ApiAnswer): CommandOutput {
  if (answer.status === 204) return { json: { name, deleted: true }, text: `${name} deleted` }
  if (!input.isDryRun) return tableOutput(answer.json)
  const { action, before, after, checks } = asObject(answer.json)
  const text = `${facts({ action, before, after })}\n${checkLines(checks)}\nnothing was changed`
  return { json: answer.json, text }
}
