/** Whether others may change or read our nodes in ZooKeeper: every node is looked at, so by hand. */
import { useMutation } from '@tanstack/react-query'
import type { AclPage } from '../../../gateway/admin/api/acl.ts'
import { read } from '../api/http.ts'
import { Button } from '../design/button.tsx'
import { Card } from '../design/card.tsx'
import { Line, LineDetail, Lines, Muted } from '../design/facts.tsx'
import { Failure } from '../design/state.tsx'
import { Status } from '../design/status.tsx'
import { useText } from '../text/text.tsx'
import styles from './settings.module.css'

/** Of one call; a call of this many takes a fraction of a second. */
const PAGE = 500
/** Of each kind that is listed. */
const SHOWN = 100

type Found = Omit<AclPage, 'cursor'>

async function readAll(): Promise<Found> {
  const all = { open: [], secrets: [], hidden: [], checked: 0 } as Found
  let cursor: string | undefined
  do {
    const page = await read<AclPage>('/acl-report', { limit: PAGE, cursor })
    all.open.push(...page.open)
    all.secrets.push(...page.secrets)
    all.hidden.push(...page.hidden)
    all.checked += page.checked
    cursor = page.cursor
  } while (cursor !== undefined)
  return all
}

export function AccessLists() {
  const { t } = useText()
  const report = useMutation({ mutationFn: readAll })
  return (
    <Card
      title={t('acl.title')}
      aside={
        <Button icon="check" busy={report.isPending} onClick={() => report.mutate()}>
          {t('acl.check')}
        </Button>
      }
    >
      {report.isError && <Failure error={report.error} />}
      {report.data === undefined ? <Muted>{t('acl.words')}</Muted> : <Report found={report.data} />}
    </Card>
  )
}

function Report({ found: { open, secrets, hidden, checked } }: { readonly found: Found }) {
  const { t } = useText()
  const isFine = open.length + secrets.length + hidden.length === 0
  return (
    <div className={styles.stack}>
      <p>
        <Status tone={isFine ? 'ok' : 'neutral'}>
          {t(isFine ? 'acl.fine' : 'acl.checked', { count: checked })}
        </Status>
      </p>
      <Nodes
        tone="bad"
        words={t('acl.secrets', { count: secrets.length })}
        nodes={secrets.map(({ path, others }) => [
          path,
          t('acl.others', { who: others.join(', ') }),
        ])}
      />
      <Nodes
        tone="warn"
        words={t('acl.open', { count: open.length })}
        hint={t('acl.rights')}
        nodes={open.map(({ path, rights }) => [path, rights])}
      />
      <Nodes
        tone="info"
        words={t('acl.hidden', { count: hidden.length })}
        nodes={hidden.map((path) => [path])}
      />
    </div>
  )
}

function Nodes(props: {
  readonly tone: 'bad' | 'warn' | 'info'
  readonly words: string
  readonly hint?: string
  readonly nodes: readonly (readonly [path: string, detail?: string])[]
}) {
  const { t } = useText()
  const { tone, words, hint, nodes } = props
  if (nodes.length === 0) return null
  return (
    <section className={styles.editor}>
      <p>
        <Status tone={tone} wraps>
          {words}
        </Status>
      </p>
      {hint !== undefined && <Muted>{hint}</Muted>}
      <Lines label={words}>
        {nodes.slice(0, SHOWN).map(([path, detail]) => (
          <Line key={path} name={<code>{path}</code>}>
            {detail !== undefined && <LineDetail>{detail}</LineDetail>}
          </Line>
        ))}
      </Lines>
      {nodes.length > SHOWN && (
        <Muted>{t('state.shownOf', { shown: SHOWN, total: nodes.length })}</Muted>
      )}
    </section>
  )
}
