/** Mappings from a file or pasted text: read, shown by kind with line numbers, then applied. */
import { useMutation } from '@tanstack/react-query'
import { type DragEvent, useRef, useState } from 'react'
import type { ChangeSet, ImportRequest } from '../../../gateway/admin/api/changes.ts'
import { call } from '../api/http.ts'
import { Button } from '../design/button.tsx'
import { Dialog } from '../design/dialog.tsx'
import { control, Field } from '../design/field.tsx'
import { Failure } from '../design/state.tsx'
import { useText } from '../text/text.tsx'
import styles from './change-set.module.css'
import { ChangeSetReview } from './change-set.tsx'

/** What the API takes. */
const BYTES_MAX = 4 * 1024 * 1024

/** JSON begins with a bracket; everything else is taken for CSV. */
export function formatOf(text: string): ImportRequest['format'] {
  return /^\s*[[{]/.test(text) ? 'json' : 'csv'
}

export function ImportDialog({ onClose }: { readonly onClose: () => void }) {
  const { t } = useText()
  const [text, setText] = useState('')
  const [mode, setMode] = useState<'merge' | 'replace'>('merge')
  const [wrongFile, setWrongFile] = useState<'import.tooLarge' | 'import.notUtf8'>()
  const [isApplied, setApplied] = useState(false)
  const file = useRef<HTMLInputElement>(null)
  const preview = useMutation({
    mutationFn: async () => {
      const body: ImportRequest = { format: formatOf(text), mode, text }
      return (await call<ChangeSet>('/tables:import', { method: 'POST', body })).data
    },
  })
  const take = async (chosen: File | undefined): Promise<void> => {
    if (chosen === undefined) return
    if (chosen.size > BYTES_MAX) {
      setWrongFile('import.tooLarge')
      return
    }
    try {
      setText(new TextDecoder('utf-8', { fatal: true }).decode(await chosen.arrayBuffer()))
      setWrongFile(undefined)
    } catch {
      setWrongFile('import.notUtf8')
    }
  }
  const onDrop = (event: DragEvent): void => {
    event.preventDefault()
    void take(event.dataTransfer.files[0])
  }
  return (
    <Dialog
      open
      wide={preview.data !== undefined}
      title={t('import.title')}
      unsaved={text !== '' && !isApplied}
      onClose={onClose}
      footer={
        preview.data === undefined ? (
          <>
            <Button onClick={onClose}>{t('action.cancel')}</Button>
            <Button
              look="primary"
              busy={preview.isPending}
              reason={text.trim() === '' ? t('import.empty') : undefined}
              onClick={() => preview.mutate()}
            >
              {t('import.preview')}
            </Button>
          </>
        ) : undefined
      }
    >
      {preview.data !== undefined ? (
        <ChangeSetReview
          changes={preview.data}
          onBack={() => preview.reset()}
          onApplied={() => setApplied(true)}
          onClose={onClose}
        />
      ) : (
        <div
          className={styles.review}
          onDragOver={(event) => event.preventDefault()}
          onDrop={onDrop}
        >
          {preview.isError && <Failure error={preview.error} />}
          <div>
            <input
              ref={file}
              type="file"
              className="only-heard"
              tabIndex={-1}
              aria-label={t('import.file')}
              accept=".json,.csv,application/json,text/csv"
              onChange={({ target }) => void take(target.files?.[0])}
            />
            <Button icon="upload" onClick={() => file.current?.click()}>
              {t('import.file')}
            </Button>
          </div>
          <Field label={t('import.text')} hint={t('import.hint')} error={wrongFile && t(wrongFile)}>
            {(ids) => (
              <textarea
                {...ids}
                className={control}
                rows={10}
                spellCheck={false}
                value={text}
                placeholder={
                  'table,cluster,metas,group,note\norders,alpha,"10.0.0.1:34601,10.0.0.2:34601",pay,'
                }
                onChange={({ target }) => setText(target.value)}
              />
            )}
          </Field>
          <Field label={t('import.mode')} hint={t(`import.${mode}Hint`)}>
            {(ids) => (
              <select
                {...ids}
                className={control}
                value={mode}
                onChange={({ target }) => setMode(target.value === 'replace' ? 'replace' : 'merge')}
              >
                <option value="merge">{t('import.merge')}</option>
                <option value="replace">{t('import.replace')}</option>
              </select>
            )}
          </Field>
        </div>
      )}
    </Dialog>
  )
}
