/** The shell's commands for clusters, groups, audit, events, users and tokens. */
import {
  type CommandInput,
  type CommandOutput,
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
import { applied, changeFlags, putHeaders, seen } from './shell-changes.ts'
import { ShellError } from './shell-http.ts'
import { columns, facts, plain } from './shell-print.ts'

const auditFilters = ['actor', 'action', 'kind', 'name', 'source', 'since', 'until', 'q']

/** `GET path` and a table of some keys of its list. */
function listing(
  name: string,
  about: string,
  path: string,
  key: string,
  shown: readonly string[],
  flags: readonly string[] = [],
): ShellCommand {
  return {
    name,
    words: '',
    about,
    flags,
    run: async (input) => {
      wordsOf(input)
      const { json } = await input.api.call(`${path}${queryOf(input, flags)}`)
      const rows = asList(asObject(json)[key]).map((item) => shown.map((one) => item[one]))
      return {
        json,
        text: columns(
          shown.map((one) => one.toUpperCase()),
          rows,
        ),
      }
    },
  }
}

function showing(name: string, about: string, pathOf: (name: string) => string): ShellCommand {
  return {
    name,
    words: 'NAME',
    about,
    flags: [],
    run: async (input) => {
      const [word = ''] = wordsOf(input, 'NAME')
      const { json } = await input.api.call(pathOf(word))
      return { json, text: facts(asObject(json)) }
    },
  }
}

async function put(input: CommandInput, path: string, body: unknown): Promise<CommandOutput> {
  const headers = await putHeaders(input, path)
  const { json } = await input.api.call(`${path}${dryRun(input)}`, { method: 'PUT', body, headers })
  return { json, text: facts(asObject(json)) }
}

function removing(name: string, about: string, folder: string): ShellCommand {
  return {
    name,
    words: 'NAME',
    about,
    flags: changeFlags,
    run: async (input) => {
      const [word = ''] = wordsOf(input, 'NAME')
      const path = `${folder}/${at(word)}`
      const headers = { ...input.changeHeaders, 'if-match': await seen(input, path) }
      await input.api.call(`${path}${dryRun(input)}`, { method: 'DELETE', headers })
      const text = input.isDryRun ? 'nothing was changed' : `${word} deleted`
      return { json: { name: word, deleted: !input.isDryRun }, text }
    },
  }
}

/** A preview of many changes, and with --apply the changes. */
async function previewed(input: CommandInput, path: string, body: unknown): Promise<CommandOutput> {
  const { json } = await input.api.call(path, { method: 'POST', body })
  const rows = asList(asObject(json)['items']).map(({ kind, name, after }) => [kind, name, after])
  const shown = columns(['CHANGE', 'TABLE', 'AFTER'], rows)
  return applied(input, { json, shown, hasInvalid: false })
}

export const fleetCommands: readonly ShellCommand[] = [
  listing('clusters list', 'clusters, registered or mapped to', '/clusters', 'clusters', [
    'name',
    'registered',
    'tables',
    'metas',
    'peer',
  ]),
  showing('clusters get', 'one cluster', (name) => `/clusters/${at(name)}`),
  {
    name: 'clusters set',
    words: 'NAME --metas A,B',
    about: 'the registry entry; --create for a new one',
    flags: ['metas', 'peer', 'note', 'create', ...changeFlags],
    run: async (input) => {
      const [name = ''] = wordsOf(input, 'NAME')
      const metas = flag(input, 'metas')
      if (metas === undefined) throw new ShellError('--metas is needed', { isUsage: true })
      const peer = flag(input, 'peer')
      const note = flag(input, 'note')
      return put(input, `/clusters/${at(name)}`, {
        metas: list(metas),
        ...(peer === undefined ? {} : { peer }),
        ...(note === undefined ? {} : { note }),
      })
    },
  },
  removing('clusters delete', 'remove the registry entry', '/clusters'),
  {
    name: 'clusters health',
    words: 'NAME',
    about: 'ask its meta servers now',
    flags: [],
    run: async (input) => {
      const [name = ''] = wordsOf(input, 'NAME')
      const { json } = await input.api.call(`/clusters/${at(name)}/health`)
      const { state, reasons, since, metas, nodes } = asObject(json)
      const members = [
        ...asList(metas).map((meta) => [
          meta['leader'] === true ? 'meta, leads' : 'meta',
          meta['address'],
          meta['reachable'] === true ? 'answers' : meta['error'],
        ]),
        ...asList(nodes).map(({ address, alive }) => [
          'node',
          address,
          alive === true ? 'alive' : 'lost',
        ]),
      ]
      const text = `${facts({ state, since, reasons })}\n\n${columns(['ROLE', 'ADDRESS', 'STATE'], members)}`
      return { json, text, failed: state !== 'ok' }
    },
  },
  {
    name: 'clusters tables',
    words: 'NAME',
    about: 'what it has against what is mapped to it',
    flags: [],
    run: async (input) => {
      const [name = ''] = wordsOf(input, 'NAME')
      const { json } = await input.api.call(`/clusters/${at(name)}/tables`)
      const keys = ['name', 'state', 'appId', 'partitionCount', 'mappedTo']
      const rows = asList(asObject(json)['tables']).map((table) => keys.map((key) => table[key]))
      return { json, text: columns(['NAME', 'STATE', 'APP', 'PARTITIONS', 'MAPPED TO'], rows) }
    },
  },
  {
    name: 'clusters adopt',
    words: 'NAME [TABLE …]',
    about: 'mappings for its unmapped tables',
    flags: ['apply', 'reason'],
    run: (input) => {
      const [name = '', ...tables] = input.plain
      if (name === '') throw new ShellError('expected NAME', { isUsage: true })
      const body = tables.length === 0 ? {} : { tables }
      return previewed(input, `/clusters/${at(name)}:adopt`, body)
    },
  },
  {
    name: 'clusters replace-meta',
    words: 'NAME OLD NEW',
    about: 'one meta address for another, everywhere',
    flags: ['apply', 'reason'],
    run: (input) => {
      const [name = '', from = '', to = ''] = wordsOf(input, 'NAME', 'OLD', 'NEW')
      return previewed(input, `/clusters/${at(name)}:replace-meta`, { from, to })
    },
  },
  listing('groups list', 'groups', '/groups', 'groups', ['name', 'tables', 'members', 'patterns']),
  showing('groups get', 'one group', (name) => `/groups/${at(name)}`),
  {
    name: 'groups set',
    words: 'NAME [--members A,B] [--patterns P,Q]',
    about: 'a group; --create for a new one',
    flags: ['members', 'patterns', 'note', 'stale', 'create', ...changeFlags],
    run: async (input) => {
      const [name = ''] = wordsOf(input, 'NAME')
      const note = flag(input, 'note')
      const stale = flag(input, 'stale')
      return put(input, `/groups/${at(name)}`, {
        members: list(flag(input, 'members') ?? ''),
        patterns: list(flag(input, 'patterns') ?? ''),
        ...(note === undefined ? {} : { note }),
        ...(stale === undefined ? {} : { stale }),
      })
    },
  },
  removing('groups delete', 'remove a group', '/groups'),
  {
    name: 'overview',
    words: '',
    about: 'counts of everything',
    flags: [],
    run: async (input) => {
      wordsOf(input)
      const { json } = await input.api.call('/overview')
      return { json, text: facts(asObject(json)) }
    },
  },
  listing(
    'audit list',
    'who changed what, newest first',
    '/audit',
    'entries',
    ['seq', 'at', 'actor', 'source', 'action', 'kind', 'name', 'reason'],
    [...auditFilters, 'limit', 'cursor'],
  ),
  {
    name: 'audit verify',
    words: '',
    about: 'check the chain of entries',
    flags: [],
    run: async (input) => {
      wordsOf(input)
      const { json } = await input.api.call('/audit:verify')
      return { json, text: facts(asObject(json)), failed: asObject(json)['ok'] !== true }
    },
  },
  {
    name: 'audit export',
    words: '',
    about: 'all entries, oldest first',
    flags: ['format', 'out', ...auditFilters],
    run: async (input) => {
      wordsOf(input)
      const { text } = await input.api.call(
        `/audit:export${queryOf(input, ['format', ...auditFilters])}`,
      )
      const out = flag(input, 'out')
      if (out === undefined) return { json: text, text: text.trimEnd() }
      await input.writeFile(out, text)
      return { json: { written: out }, text: `written to ${out}` }
    },
  },
  {
    name: 'events',
    words: '',
    about: 'what happens, until Ctrl-C; always JSON, one event a line',
    flags: ['topics'],
    run: async (input) => {
      wordsOf(input)
      try {
        for await (const event of input.api.events(flag(input, 'topics') ?? '', input.signal))
          input.print(event)
      } catch (error) {
        if (!input.signal.aborted) throw error
      }
      return { json: undefined, text: '' }
    },
  },
  {
    name: 'me',
    words: '',
    about: 'who I am, and what I may do',
    flags: [],
    run: async (input) => {
      wordsOf(input)
      const { json } = await input.api.call('/me')
      return { json, text: facts(asObject(json)) }
    },
  },
  listing('users list', 'users', '/users', 'users', ['name', 'disabled', 'grants']),
  listing('tokens list', 'tokens', '/tokens', 'tokens', [
    'id',
    'name',
    'owner',
    'grants',
    'expiresAt',
  ]),
  {
    name: 'tokens create',
    words: 'NAME --role ROLE',
    about: 'a token for a program; --cluster, --group: patterns that limit it',
    flags: ['role', 'cluster', 'group', 'days', 'reason'],
    run: async (input) => {
      const [name = ''] = wordsOf(input, 'NAME')
      const role = flag(input, 'role')
      if (role === undefined) throw new ShellError('--role is needed', { isUsage: true })
      const cluster = flag(input, 'cluster')
      const group = flag(input, 'group')
      const days = flag(input, 'days')
      const grant = {
        role,
        ...(cluster === undefined ? {} : { cluster }),
        ...(group === undefined ? {} : { group }),
      }
      const { json } = await input.api.call('/tokens', {
        method: 'POST',
        body: { name, grants: [grant], ...(days === undefined ? {} : { days: Number(days) }) },
        headers: input.changeHeaders,
      })
      return { json, text: `${plain(asObject(json)['secret'])}\nshown this once` }
    },
  },
  {
    name: 'tokens delete',
    words: 'ID',
    about: 'a token is good no more',
    flags: ['reason'],
    run: async (input) => {
      const [id = ''] = wordsOf(input, 'ID')
      await input.api.call(`/tokens/${at(id)}`, { method: 'DELETE', headers: input.changeHeaders })
      return { json: { id, deleted: true }, text: `${id} deleted` }
    },
  },
]
