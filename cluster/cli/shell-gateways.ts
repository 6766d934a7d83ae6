/** The shell's commands about gateways, and about what they say of a table when they are asked. */
import {
  type CommandInput,
  type CommandOutput,
  type Json,
  type ShellCommand,
  asList,
  asObject,
  at,
  wordsOf,
} from './shell-command.ts'
import { columns, facts } from './shell-print.ts'

export const gatewayCommands: readonly ShellCommand[] = [
  {
    name: 'tables clients',
    words: 'NAME',
    about: 'who asked any gateway in 24 hours, and who is slow to move',
    flags: [],
    run: async (input) => {
      const [name = ''] = wordsOf(input, 'NAME')
      const { json } = await input.api.call(`/tables/${at(name)}/clients`)
      const { cluster, total, slow, truncated, clients } = asObject(json)
      const keys = ['address', 'lastQueryAt', 'queries', 'libraries', 'result', 'cluster', 'slow']
      const head = ['ADDRESS', 'LAST QUERY', 'QUERIES', 'LIBRARY', 'RESULT', 'CLUSTER', 'SLOW']
      const rows = asList(clients).map((client) => keys.map((key) => client[key]))
      const lines = facts({ cluster, total, slow, truncated })
      return withSilent(json, `${lines}\n\n${columns(head, rows)}`)
    },
  },
  {
    name: 'tables routes',
    words: 'NAME',
    about: 'what every gateway serves now; fails when one disagrees or is silent',
    flags: [],
    run: async (input) => {
      const [name = ''] = wordsOf(input, 'NAME')
      const { json } = await input.api.call(`/tables/${at(name)}/routes`)
      const { wanted, gateways } = asObject(json)
      const rows = asList(gateways).map(({ id, behind, agrees, serves }) => {
        const { kind, cluster, metas, readAgoMs, zxid } = asObject(serves)
        return [id, behind, agrees, kind, cluster, metas, readAgoMs, zxid]
      })
      const head = ['GATEWAY', 'BEHIND', 'AGREES', 'SERVES', 'CLUSTER', 'METAS', 'AGE MS', 'ZXID']
      const text = `${facts(asObject(wanted))}\n\n${columns(head, rows)}`
      const output = withSilent(json, text)
      const isOld = asList(gateways).some(({ agrees }) => agrees === false)
      return { ...output, failed: output.failed === true || isOld }
    },
  },
  {
    name: 'tables rates',
    words: '',
    about: 'queries per second of each table at all gateways, the most asked for first',
    flags: [],
    run: async (input) => {
      wordsOf(input)
      const { json } = await input.api.call('/tables:rates')
      const rows = Object.entries(asObject(asObject(json)['rates']))
        .map(([table, rate]) => [table, Number(rate)] as const)
        .toSorted(([, one], [, other]) => other - one)
      return withSilent(json, columns(['TABLE', 'QUERIES/S'], rows))
    },
  },
  {
    name: 'gateways list',
    words: '',
    about: 'the fleet',
    flags: [],
    run: async (input) => {
      wordsOf(input)
      const { json } = await input.api.call('/gateways')
      const keys = ['id', 'version', 'http', 'behind', 'zookeeper', 'connections', 'draining']
      const figures = ['queriesPerSecond', 'errorsPerSecond', 'p99Ms', 'loopLagMs', 'routes']
      const rows = asList(asObject(json)['gateways']).map((one) => {
        const load = asObject(one['load'])
        return [
          ...keys.map((key) => one[key]),
          ...figures.map((key) => load[key]),
          one['configHash'],
        ]
      })
      const units = ['QUERIES/S', 'ERRORS/S', 'P99 MS', 'LAG MS', 'ROUTES', 'CONFIG']
      return { json, text: columns([...keys.map((key) => key.toUpperCase()), ...units], rows) }
    },
  },
  {
    name: 'gateways get',
    words: 'ID',
    about: 'one gateway with its last errors and its configuration',
    flags: [],
    run: async (input) => {
      const [id = ''] = wordsOf(input, 'ID')
      const { json } = await input.api.call(`/gateways/${at(id)}`)
      const { gateway, recent, config } = asObject(json)
      const lines = asList(recent).map((line) =>
        ['at', 'level', 'process', 'event', 'fields'].map((key) => line[key]),
      )
      // What nobody has set says nothing of this gateway.
      const set = asList(config).filter(({ source }) => source !== 'default')
      const options = set.map((option) => ['path', 'value', 'source'].map((key) => option[key]))
      const text = [
        facts(asObject(gateway)),
        columns(['AT', 'LEVEL', 'PROCESS', 'EVENT', 'FIELDS'], lines),
        columns(['OPTION', 'VALUE', 'SOURCE'], options),
      ].join('\n\n')
      return withSilent(json, text)
    },
  },
  ...(['drain', 'resume'] as const).map((verb): ShellCommand => ({
    name: `gateways ${verb}`,
    words: 'ID',
    about: verb === 'drain' ? 'not ready, and its connections end; it goes on' : 'ready once more',
    flags: ['reason'],
    run: (input) => wish(input, verb),
  })),
]

async function wish(input: CommandInput, verb: 'drain' | 'resume'): Promise<CommandOutput> {
  const [id = ''] = wordsOf(input, 'ID')
  const { json } = await input.api.call(`/gateways/${at(id)}:${verb}`, {
    method: 'POST',
    headers: input.changeHeaders,
  })
  const text = verb === 'drain' ? 'drains; gateways list shows its connections' : 'resumes'
  return { json, text: `${id} ${text}` }
}

/** Gateways that did not answer are told below, and make the command fail. */
function withSilent(json: unknown, text: string): CommandOutput {
  const silent = asList(asObject(json)['silent'])
  if (silent.length === 0) return { json, text }
  const rows = silent.map(({ id, reason }: Json) => [id, reason])
  return { json, text: `${text}\n\n${columns(['SILENT', 'REASON'], rows)}`, failed: true }
}
