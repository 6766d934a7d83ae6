/** The gateway that answers, and every option that it runs with. */
import { useConfig, useOverview } from '../api/queries.ts'
import { useSession } from '../api/session.tsx'
import { Card } from '../design/card.tsx'
import { Fact, Facts } from '../design/facts.tsx'
import { Loaded } from '../design/state.tsx'
import { ConfigTable } from '../gateways/config-table.tsx'
import { useText } from '../text/text.tsx'
import { AccessLists } from './access-lists.tsx'
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
      <AccessLists />
      <Config />
    </div>
  )
}

function Config() {
  const { t } = useText()
  const config = useConfig()
  return (
    <Card title={t('about.config')} flush>
      <Loaded query={config} lines={8}>
        {({ options }) => <ConfigTable options={options} />}
      </Loaded>
    </Card>
  )
}
