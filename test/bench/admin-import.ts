/**
 * A part of `bench:admin`. Question: does a large import hold up the clients that the same process serves?
 * Expectation: nothing in it is longer than the parsing of the body (five milliseconds of CPU for four
 * megabytes) and a collection of young garbage; goal is 20 ms.
 */
import { metasOf, tableName } from './admin-tables.ts'
import type { BenchRow } from './measure.ts'
import { median } from './measure.ts'
import type { LineProgram } from './programs.ts'

const ROWS = 12_000

function fileOf(format: 'json' | 'csv'): string {
  const rows = Array.from({ length: ROWS }, (_, index) => ({
    name: tableName(index),
    cluster: `cluster-${index % 40}`,
    metas: metasOf(index),
    note: `${'about this table '.repeat(9)}${index}`,
  }))
  if (format === 'json') return JSON.stringify({ tables: rows })
  const lines = rows.map(
    ({ name, cluster, metas, note }) => `${name},${cluster},"${metas.join(',')}",${note}`,
  )
  return ['table,cluster,metas,note', ...lines].join('\n')
}

/** The longest turn of each preview of an import, in milliseconds of CPU. */
export async function importRow(
  target: LineProgram,
  address: string,
  format: 'json' | 'csv',
  rounds: number,
): Promise<BenchRow> {
  const body = JSON.stringify({ format, text: fileOf(format) })
  const stalls: number[] = []
  for (let round = 0; round < rounds; round++) {
    await stallOf(target)
    const response = await fetch(`http://${address}/api/v1/tables:import`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    })
    const { length } = await response.text()
    if (response.status !== 200) throw new Error(`import: status ${response.status}, ${length}`)
    stalls.push(await stallOf(target))
  }
  return {
    name: `longest turn, ${format} import of ${ROWS} rows, ${(body.length / 1e6).toFixed(1)} MB`,
    value: median(stalls),
    unit: 'ms of CPU',
    goal: 20,
    lowerIsBetter: true,
    notes: `worst of ${rounds}: ${Math.max(...stalls).toFixed(1)} ms`,
  }
}

async function stallOf(target: LineProgram): Promise<number> {
  target.tell('stall')
  return Number(await target.line())
}
