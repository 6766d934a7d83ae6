/**
 * Lists of tables while tables come, go and change (H-3): what is kept of a list from one call to the
 * next is always what a walk through all tables would find.
 */
import t from 'tap'
import { Parse } from 'typebox/value'
import { SparseTableList, type Table, type TableFilter } from '../../gateway/admin/api/tables.ts'
import { startAdminWorld } from '../support/admin-world.ts'
import { root, until } from '../support/gateway-world.ts'

t.setTimeout(120_000)

/** The same numbers in every run. */
function numbers(seed: number): (limit: number) => number {
  let state = seed
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
}

interface Query {
  readonly sort?: string
  readonly filter?: TableFilter
  readonly matches?: (table: Table) => boolean
  readonly key?: (table: Table) => string
}

const all = ({ name, cluster = '', group = '', note = '', metas = [], memberOf }: Table): string =>
  [name, cluster, group, note, ...metas, ...memberOf].join('\n').toLowerCase()

const queries: readonly Query[] = [
  {},
  { sort: '-name' },
  { sort: 'cluster', key: ({ cluster = '' }) => cluster },
  { sort: '-cluster', key: ({ cluster = '' }) => cluster },
  { sort: 'changed', key: ({ modifiedAt }) => modifiedAt },
  { sort: '-group', key: ({ group = '' }) => group },
  { sort: 'state', key: ({ state }) => state },
  { filter: { cluster: 'c1' }, matches: ({ cluster }) => cluster === 'c1' },
  {
    filter: { cluster: 'c2' },
    sort: '-changed',
    matches: ({ cluster }) => cluster === 'c2',
    key: ({ modifiedAt }) => modifiedAt,
  },
  { filter: { group: 'g1' }, matches: ({ memberOf }) => memberOf.includes('g1') },
  { filter: { q: 'T1' }, matches: (table) => all(table).includes('t1') },
  { filter: { q: 'host2' }, matches: (table) => all(table).includes('host2') },
  {
    filter: { q: 'note 3', group: 'g2' },
    sort: 'cluster',
    matches: (table) => table.memberOf.includes('g2') && all(table).includes('note 3'),
    key: ({ cluster = '' }) => cluster,
  },
  { filter: { q: 'Note' }, matches: (table) => all(table).includes('note') },
  { filter: { invalid: true }, matches: ({ valid }) => !valid },
  { filter: { state: 'ok' }, matches: ({ state }) => state === 'ok' },
]

function expected(tables: readonly Table[], { sort = 'name', matches, key }: Query): string[] {
  const sign = sort.startsWith('-') ? -1 : 1
  const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
  return tables
    .filter((table) => matches?.(table) ?? true)
    .toSorted((a, b) => sign * (order(key?.(a) ?? '', key?.(b) ?? '') || order(a.name, b.name)))
    .map(({ name }) => name)
}

void t.test('a list is what a walk through all tables would find', async (t) => {
  const { world, admin } = await startAdminWorld(t)
  const { mirror, lists } = admin.services
  const random = numbers(7)
  const present = new Map<string, string>()
  const textOf = (): string => {
    if (random(20) === 0) return 'no mapping'
    const value = {
      cluster: `c${random(4)}`,
      'meta-addrs': [`host${random(3)}:1`],
      ...(random(2) === 0 ? { group: `g${random(3)}` } : {}),
      ...(random(2) === 0 ? { note: `Note ${random(5)}` } : {}),
    }
    return JSON.stringify(value)
  }
  for (let round = 0; round < 30; round++) {
    // At first many come; later some change, and only sometimes one comes or goes.
    for (let change = 0; change < (round === 0 ? 120 : 6); change++) {
      const name = `t${random(150)}`
      const path = `${root}/${name}`
      const text = textOf()
      const goes = random(10) === 0
      if (round % 3 !== 0 && (!present.has(name) || goes)) continue
      if (!present.has(name)) await world.editor.create(path, Buffer.from(text))
      else if (goes) await world.editor.remove(path)
      else await world.editor.set(path, Buffer.from(text))
      if (goes && present.has(name)) present.delete(name)
      else present.set(name, text)
    }
    await until(
      () =>
        mirror.size === present.size &&
        [...present].every(([name, text]) => mirror.get(name)?.node.text === text),
    )
    // Nothing changes while one turn lasts.
    const tables = mirror.views.map(({ table }) => table)
    for (const query of queries) {
      const { sort, filter = {} } = query
      const found: string[] = []
      let cursor: string | undefined
      do {
        const words = { limit: 40, ...filter, ...(sort ? { sort } : {}) }
        const page = Parse(
          SparseTableList,
          JSON.parse(lists.page({ ...words, ...(cursor === undefined ? {} : { cursor }) })),
        )
        found.push(...page.tables.map(({ name }) => name))
        cursor = page.cursor
      } while (cursor !== undefined && found.length < 1000)
      t.same(found, expected(tables, query), `round ${round}: ${sort} ${JSON.stringify(filter)}`)
    }
  }
})
