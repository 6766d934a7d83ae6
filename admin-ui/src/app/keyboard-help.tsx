/** All keys of the page; opens with `?`. */
import { Dialog } from '../design/dialog.tsx'
import { type TextKey, useText } from '../text/text.tsx'
import styles from './keyboard-help.module.css'

const groups: readonly (readonly [TextKey, readonly (readonly [string, TextKey])[]])[] = [
  [
    'keys.everywhere',
    [
      ['/', 'search.open'],
      ['?', 'keys.help'],
      ['Esc', 'keys.close'],
      ['g o', 'nav.overview'],
      ['g t', 'nav.tables'],
      ['g c', 'nav.clusters'],
      ['g r', 'nav.groups'],
      ['g g', 'nav.gateways'],
      ['g a', 'nav.audit'],
      ['g s', 'nav.settings'],
    ],
  ],
  [
    'keys.list',
    [
      ['j ↓', 'keys.down'],
      ['k ↑', 'keys.up'],
      ['x', 'keys.select'],
      ['Enter', 'keys.open'],
      ['e', 'keys.edit'],
      ['Home End', 'keys.ends'],
    ],
  ],
]

export function KeyboardHelp(props: { readonly open: boolean; readonly onClose: () => void }) {
  const { t } = useText()
  return (
    <Dialog open={props.open} title={t('keys.help')} onClose={props.onClose}>
      <div className={styles.groups}>
        {groups.map(([title, keys]) => (
          <section key={title}>
            <h3>{t(title)}</h3>
            <dl className={styles.keys}>
              {keys.map(([key, words]) => (
                <div key={key}>
                  <dt>
                    {key.split(' ').map((one) => (
                      <kbd key={one}>{one}</kbd>
                    ))}
                  </dt>
                  <dd>{t(words)}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
      <p className={styles.words}>{t('keys.harmless')}</p>
    </Dialog>
  )
}
