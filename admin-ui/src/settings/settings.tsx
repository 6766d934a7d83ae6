/** Users, roles, tokens and what this gateway is. What needs a right says which one lacks. */
import type { ReactNode } from 'react'
import { useRoute } from 'wouter'
import type { Right } from '../../../gateway/admin/api/roles.ts'
import { useSession } from '../api/session.tsx'
import { Card } from '../design/card.tsx'
import { Page } from '../design/page.tsx'
import { Empty } from '../design/state.tsx'
import { Tabs } from '../design/tabs.tsx'
import { type TextKey, useText } from '../text/text.tsx'
import { AboutTab } from './about-tab.tsx'
import { AccountTab } from './account-tab.tsx'
import { RolesTab } from './roles-tab.tsx'
import { TokensTab } from './tokens-tab.tsx'
import { UsersTab } from './users-tab.tsx'

const tabs = ['users', 'roles', 'tokens', 'account', 'about'] as const
type Tab = (typeof tabs)[number]

const labels = {
  users: 'settings.users',
  roles: 'settings.roles',
  tokens: 'settings.tokens',
  account: 'settings.account',
  about: 'settings.about',
} as const satisfies Record<Tab, TextKey>

export function Settings() {
  const [, params] = useRoute('/settings/:tab?')
  const { t } = useText()
  const { may } = useSession()
  const first = may('users.edit') ? 'users' : 'roles'
  const tab = tabs.find((one) => one === params?.tab) ?? first
  return (
    <Page title={t('nav.settings')}>
      <Tabs
        label={t('nav.settings')}
        current={`/settings/${tab}`}
        tabs={tabs.map((one) => ({ href: `/settings/${one}`, label: t(labels[one]) }))}
      />
      {tab === 'users' && (
        <Guarded right="users.edit">
          <WithLogIn>
            <UsersTab />
          </WithLogIn>
        </Guarded>
      )}
      {tab === 'roles' && <RolesTab />}
      {tab === 'tokens' && (
        <WithLogIn>
          <TokensTab />
        </WithLogIn>
      )}
      {tab === 'account' && <AccountTab />}
      {tab === 'about' && <AboutTab />}
    </Page>
  )
}

/** Where nobody logs in there are no accounts. */
function WithLogIn(props: { readonly children: ReactNode }) {
  const { t } = useText()
  if (useSession().info.mode === 'authenticated') return props.children
  return (
    <Card>
      <Empty icon="lock" title={t('users.openTitle')}>
        {t('users.openWords')}
      </Empty>
    </Card>
  )
}

function Guarded(props: { readonly right: Right; readonly children: ReactNode }) {
  const { t } = useText()
  const { may } = useSession()
  if (may(props.right)) return props.children
  return (
    <Card>
      <Empty icon="lock" title={t('settings.mayNot')}>
        {t('right.missing', { right: props.right })}
      </Empty>
    </Card>
  )
}
