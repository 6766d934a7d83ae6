/** The gateway that answers, and every option that it runs with. */
import { useState } from 'react'
import { type ConfigOption, useConfig, useOverview } from '../api/queries.ts'
import { useSession } from '../api/session.tsx'
import { Card } from '../design/card.tsx'
import { type Column, DataTable } from '../design/data-table.tsx'
import { Fact, Facts } from '../design/facts.tsx'
import { control } from '../design/field.tsx'
import { Empty, Loaded } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { type Text, useText } from '../text/text.tsx'
import styles from './settings.module.css'

export function AboutTab() {
  const { t } = useText()
  const { info } = useSession()
  const overview = useOverview()
  return (
    <div className={styles.stack}>
      <Card title={t('about.gateway')}>
        <Facts>
          <Fact label={t('gateways.name')}>{info.gateway}</Fact>
          <Fact label={t('gateways.version')}>{info.version}</Fact>
          {info.environment.name !== '' && (
            <Fact label={t('about.environment')}>{info.environment.name}</Fact>
          )}
          <Fact label={t('about.access')}>
            {t(info.mode === 'open-on-loopback' ? 'session.open' : 'about.loggedIn')}
          </Fact>
          <Fact label="ZooKeeper">{overview.data?.zookeeper.state ?? '–'}</Fact>
          <Fact label="API">
            <a href="/openapi.json">/openapi.json</a>
          </Fact>
        </Facts>
      </Card>
      <Config />
    </div>
  )
}

function Config() {
  const text = useText()
  const { t } = text
  const config = useConfig()
  const [filter, setFilter] = useState('')
  const wanted = filter.trim().toLowerCase()
  return (
    <Card title={t('about.config')} flush>
      <Loaded query={config} lines={8}>
        {({ options }) => {
          const shown = options.filter(({ path, about, value }) =>
            `${path} ${about} ${JSON.stringify(value)}`.toLowerCase().includes(wanted),
          )
          return (
            <>
              <div className={styles.head}>
                <input
                  className={control}
                  type="search"
                  aria-label={t('about.filter')}
                  placeholder={t('about.filter')}
                  value={filter}
                  onChange={({ target }) => setFilter(target.value)}
                />
              </div>
              {shown.length === 0 ? (
                <Empty icon="search" title={t('search.none')} />
              ) : (
                <DataTable
                  label={t('about.config')}
                  rows={shown}
                  rowKey={({ path }) => path}
                  columns={columnsOf(text)}
                />
              )}
            </>
          )
        }}
      </Loaded>
    </Card>
  )
}

function columnsOf({ t }: Text): Column<ConfigOption>[] {
  return [
    {
      key: 'path',
      header: t('about.option'),
      cell: ({ path, about }) => (
        <>
          <code>{path}</code>
          <div className={styles.about}>{about}</div>
        </>
      ),
    },
    {
      key: 'value',
      header: t('about.value'),
      cell: ({ value }) => (
        <code className={styles.value}>
          {value === null ? '–' : typeof value === 'string' ? value : JSON.stringify(value)}
        </code>
      ),
    },
    {
      key: 'source',
      header: t('about.source'),
      minor: true,
      cell: ({ source, reloadable }) => (
        <>
          {source}{' '}
          {reloadable && (
            <Status tone="neutral" icon="refresh">
              {t('about.reloadable')}
            </Status>
          )}
        </>
      ),
    },
  ]
}
