/** One meta server for another, in the registry entry and in every mapping of a cluster at once. */
import { useState } from 'react'
import type { Cluster, ReplaceMetaRequest } from '../../../gateway/admin/api/clusters.ts'
import { clusterPath } from '../api/queries.ts'
import { ChangeSetDialog } from '../changes/change-set-dialog.tsx'
import { Button } from '../design/button.tsx'
import { Dialog } from '../design/dialog.tsx'
import { control, Field, Form } from '../design/field.tsx'
import { useText } from '../text/text.tsx'

export function ReplaceMetaDialog(props: {
  readonly cluster: Cluster
  readonly onClose: () => void
}) {
  const { cluster, onClose } = props
  const { t } = useText()
  const { name } = cluster
  const addresses = [...new Set([...cluster.metas, ...cluster.drift.flatMap(({ metas }) => metas)])]
  const [from, setFrom] = useState(addresses[0] ?? '')
  const [to, setTo] = useState('')
  const [request, setRequest] = useState<ReplaceMetaRequest>()
  const title = t('clusters.replaceTitle', { name })
  if (request !== undefined)
    return (
      <ChangeSetDialog
        title={title}
        path={`${clusterPath(name)}:replace-meta`}
        body={request}
        also={
          cluster.registered && cluster.metas.includes(request.from)
            ? t('clusters.replaceAlso', { name })
            : undefined
        }
        onBack={() => setRequest(undefined)}
        onClose={onClose}
      />
    )
  return (
    <Dialog
      open
      title={title}
      description={t('clusters.replaceWords')}
      unsaved={to !== ''}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t('action.cancel')}</Button>
          <Button
            look="primary"
            reason={from === '' || to.trim() === '' ? t('clusters.replaceIncomplete') : undefined}
            onClick={() => setRequest({ from, to: to.trim() })}
          >
            {t('edit.review')}
          </Button>
        </>
      }
    >
      <Form>
        <Field label={t('clusters.replaceFrom')}>
          {(ids) => (
            <select
              {...ids}
              className={control}
              value={from}
              onChange={({ target }) => setFrom(target.value)}
            >
              {addresses.map((address) => (
                <option key={address}>{address}</option>
              ))}
            </select>
          )}
        </Field>
        <Field label={t('clusters.replaceTo')} hint={t('clusters.replaceToHint')}>
          {(ids) => (
            <input
              {...ids}
              className={control}
              autoFocus
              spellCheck={false}
              value={to}
              onChange={({ target }) => setTo(target.value)}
            />
          )}
        </Field>
      </Form>
    </Dialog>
  )
}
