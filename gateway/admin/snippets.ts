/** Lines that configure clients of a table for this gateway's endpoint (admin-ui.md 3.3). Pure. */
import type { TableSnippet } from './api/tables.ts'

export function snippetsFor(table: string, endpoint: string): TableSnippet {
  const name = JSON.stringify(table)
  return {
    endpoint,
    snippets: [
      {
        language: 'Java',
        file: 'pegasus.properties',
        text: `meta_servers = ${endpoint}\n# then: client.openTable(${name})`,
      },
      {
        language: 'Go',
        file: 'main.go',
        text: [
          `client := pegasus.NewClient(pegasus.Config{MetaServers: []string{${JSON.stringify(endpoint)}}})`,
          `table, err := client.OpenTable(ctx, ${name})`,
        ].join('\n'),
      },
      {
        language: 'Python',
        file: 'client.py',
        text: `client = Pegasus([${JSON.stringify(endpoint)}], ${name})`,
      },
      {
        language: 'Node',
        file: 'client.js',
        text: [
          `const client = pegasus.create({ metaServers: [${JSON.stringify(endpoint)}] })`,
          `client.get(${name}, { hashKey, sortKey }, callback)`,
        ].join('\n'),
      },
      {
        language: 'C++',
        file: 'config.ini',
        text: `[pegasus.clusters]\nmetaproxy = ${endpoint}`,
      },
    ],
  }
}
