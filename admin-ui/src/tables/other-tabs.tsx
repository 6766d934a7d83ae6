/** Who asks for a table, and what a client's configuration looks like. */
import { useTableClients, useTableSnippet } from '../api/queries.ts'
import { Ago } from '../design/age.tsx'
import { Card } from '../design/card.tsx'
import { CopyButton } from '../design/copy-button.tsx'
import { DataTable } from '../design/data-table.tsx'
import { Muted } from '../design/facts.tsx'
import { Empty, Loaded } from '../design/state.tsx'
import { useText } from '../text/text.tsx'
import styles from './table-page.module.css'

export function ClientsTab({ name }: { readonly name: string }) {
  const { t, number } = useText()
  const clients = useTableClients(name)
  return (
    <Card
      title={t('clients.title')}
      aside={clients.data?.truncated === true && t('clients.truncated')}
      flush
    >
      <Loaded query={clients}>
        {({ clients: rows }) =>
          rows.length === 0 ? (
            <Empty icon="gateways" title={t('clients.none')}>
              {t('clients.noneWords')}
            </Empty>
          ) : (
            <DataTable
              label={t('clients.title')}
              rows={rows}
              rowKey={({ address }) => address}
              columns={[
                {
                  key: 'address',
                  header: t('clients.address'),
                  cell: ({ address }) => <code>{address}</code>,
                },
                {
                  key: 'last',
                  header: t('clients.last'),
                  cell: ({ lastQueryAt }) => <Ago at={lastQueryAt} />,
                },
                {
                  key: 'queries',
                  header: t('clients.queries'),
                  align: 'end',
                  cell: ({ queries }) => number(queries),
                },
                {
                  key: 'header',
                  header: t('clients.header'),
                  align: 'end',
                  minor: true,
                  cell: ({ headerVersion }) => headerVersion,
                },
              ]}
            />
          )
        }
      </Loaded>
    </Card>
  )
}

export function SnippetTab({ name }: { readonly name: string }) {
  const { t } = useText()
  const snippet = useTableSnippet(name)
  return (
    <Loaded query={snippet}>
      {({ endpoint, snippets }) => (
        <div className={styles.snippets}>
          <Muted>{t('snippet.words', { endpoint })}</Muted>
          {snippets.map(({ language, file, text }) => (
            <Card key={language} title={`${language} · ${file}`} aside={<CopyButton text={text} />}>
              <pre tabIndex={0} className={styles.code}>
                {text}
              </pre>
            </Card>
          ))}
        </div>
      )}
    </Loaded>
  )
}
