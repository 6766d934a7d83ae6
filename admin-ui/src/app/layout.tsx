/**
 * What surrounds every screen: navigation, the environment, the state of the live stream, who is
 * logged in. On narrow screens the navigation is a drawer.
 */
import { type ReactNode, useEffect, useRef, useState } from 'react'
import { Link, useLocation } from 'wouter'
import { useStreamState } from '../api/events.ts'
import { useApprovals } from '../api/queries.ts'
import { useSession } from '../api/session.tsx'
import { zone } from '../design/age.tsx'
import { Button, IconButton } from '../design/button.tsx'
import { Icon, type IconName } from '../design/icon.tsx'
import { Menu, MenuHeading, MenuItem, MenuLine } from '../design/menu.tsx'
import { Status } from '../design/status.tsx'
import { setTheme, type Theme, useTheme } from '../design/theme.ts'
import { languages, type Language, type TextKey, useText } from '../text/text.tsx'
import { Banner, WithOutageAge } from './banner.tsx'
import styles from './layout.module.css'

interface Place {
  readonly href: string
  readonly icon: IconName
  readonly label: TextKey
}

/** Groups & DR, operations and readiness come here with the DR switch. */
const places: readonly Place[] = [
  { href: '/', icon: 'overview', label: 'nav.overview' },
  { href: '/tables', icon: 'tables', label: 'nav.tables' },
  { href: '/clusters', icon: 'clusters', label: 'nav.clusters' },
  { href: '/groups', icon: 'groups', label: 'nav.groups' },
  { href: '/gateways', icon: 'gateways', label: 'nav.gateways' },
  { href: '/audit', icon: 'audit', label: 'nav.audit' },
  { href: '/settings', icon: 'settings', label: 'nav.settings' },
]

const themes: readonly (readonly [Theme, TextKey, IconName])[] = [
  ['system', 'theme.system', 'screen'],
  ['light', 'theme.light', 'sun'],
  ['dark', 'theme.dark', 'moon'],
]

export function Layout(props: {
  /** Opens the search over everything. */
  readonly onSearch: () => void
  readonly onHelp: () => void
  readonly children: ReactNode
}) {
  const { t } = useText()
  const [location] = useLocation()
  const [isOpen, setOpen] = useState(false)
  useEffect(() => setOpen(false), [location])
  useFocusOnArrival(location)
  const { environment } = useSession().info
  return (
    <div className={styles.frame} data-production={environment.production}>
      <a className={styles.skip} href="#content">
        {t('nav.skip')}
      </a>
      <header className={styles.bar}>
        <span className={styles.menuButton}>
          <IconButton
            icon="menu"
            label={t('nav.menu')}
            aria-expanded={isOpen}
            onClick={() => setOpen(!isOpen)}
          />
        </span>
        <Link href="/" className={styles.brand ?? ''} aria-label="MetaProxy">
          <Icon name="gateways" size={18} />
          <span>MetaProxy</span>
        </Link>
        <span className={styles.environment}>{environment.name}</span>
        <button
          type="button"
          className={styles.search}
          aria-label={t('search.open')}
          onClick={props.onSearch}
        >
          <Icon name="search" />
          <span>{t('search.open')}</span>
          <kbd>/</kbd>
        </button>
        <span className={styles.right}>
          <StreamMark />
          <WaitingMark />
          <OpenMark />
          <PersonalMenu onHelp={props.onHelp} />
        </span>
      </header>
      <nav className={styles.nav} data-open={isOpen} aria-label={t('nav.label')}>
        {places.map(({ href, icon, label }) => (
          <Link
            key={href}
            href={href}
            className={styles.place ?? ''}
            aria-current={isAt(location, href) ? 'page' : undefined}
          >
            <Icon name={icon} />
            {t(label)}
          </Link>
        ))}
      </nav>
      {isOpen && (
        <button
          type="button"
          className={styles.scrim}
          aria-label={t('action.close')}
          onClick={() => setOpen(false)}
        />
      )}
      <div className={styles.content}>
        <Banner />
        <WithOutageAge>{props.children}</WithOutageAge>
      </div>
    </div>
  )
}

function isAt(location: string, href: string): boolean {
  if (href === '/audit' && isAt(location, '/approvals')) return true
  return href === '/' ? location === '/' : location === href || location.startsWith(`${href}/`)
}

/** Another screen begins at its top, for the eyes and for screen readers; tabs of one stay. */
function useFocusOnArrival(location: string): void {
  const screen = location.split('/').slice(0, 3).join('/')
  const before = useRef(screen)
  useEffect(() => {
    if (before.current === screen) return
    before.current = screen
    window.scrollTo(0, 0)
    document.getElementById('content')?.focus({ preventScroll: true })
  }, [screen])
}

/** Says so when events do not arrive and the page polls instead. */
function StreamMark() {
  const { t } = useText()
  return useStreamState() === 'down' ? (
    <Status tone="warn" icon="clock">
      {t('stream.polling')}
    </Status>
  ) : null
}

/** Changes that a second person must look at, wherever one is. */
function WaitingMark() {
  const { t } = useText()
  const pending = useApprovals().data?.pending ?? 0
  return pending === 0 ? null : (
    <Link href="/approvals" className={styles.waiting ?? ''}>
      <Status tone="warn" icon="clock">
        <span>{t('approvals.waiting', { count: pending })}</span>
      </Status>
    </Link>
  )
}

/** Nobody has to log in here: visible, so that nobody takes it for a protected page. */
function OpenMark() {
  const { t } = useText()
  return useSession().info.mode === 'open-on-loopback' ? (
    <span className={styles.open}>
      <Status tone="info" icon="lock">
        {t('session.open')}
      </Status>
    </span>
  ) : null
}

function PersonalMenu({ onHelp }: { readonly onHelp: () => void }) {
  const { t, language, setLanguage } = useText()
  const { info, logOut } = useSession()
  const theme = useTheme()
  const shown = zone.use()
  const isPerson = info.mode === 'authenticated'
  const name = info.me?.name ?? ''
  return (
    <Menu
      trigger={
        <Button
          look="plain"
          icon="user"
          aria-label={isPerson ? t('personal.labelOf', { name }) : t('personal.label')}
        >
          {isPerson ? <span className={styles.person}>{name}</span> : undefined}
        </Button>
      }
    >
      {isPerson && (
        <MenuHeading>
          {name} · {info.me?.grants.map(({ role }) => role).join(', ')}
        </MenuHeading>
      )}
      <MenuHeading>{t('theme.label')}</MenuHeading>
      {themes.map(([value, label, icon]) => (
        <MenuItem
          key={value}
          icon={icon}
          checked={theme === value}
          onSelect={() => setTheme(value)}
        >
          {t(label)}
        </MenuItem>
      ))}
      <MenuHeading>{t('language.label')}</MenuHeading>
      {(Object.keys(languages) as Language[]).map((value) => (
        <MenuItem key={value} checked={language === value} onSelect={() => setLanguage(value)}>
          {languages[value]}
        </MenuItem>
      ))}
      <MenuHeading>{t('zone.label')}</MenuHeading>
      <MenuItem checked={shown === 'local'} onSelect={() => zone.set('local')}>
        {t('zone.local', { zone: Intl.DateTimeFormat().resolvedOptions().timeZone })}
      </MenuItem>
      <MenuItem checked={shown === 'utc'} onSelect={() => zone.set('utc')}>
        UTC
      </MenuItem>
      <MenuLine />
      <MenuItem onSelect={onHelp}>{t('keys.help')}</MenuItem>
      {isPerson && <MenuItem onSelect={() => void logOut()}>{t('session.logOut')}</MenuItem>}
    </Menu>
  )
}
