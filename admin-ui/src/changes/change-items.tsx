/**
 * Changes of many mappings by their kind, each with its difference: before they are made, with a box to
 * leave one out, and when they wait for somebody or were made, with what became of each.
 */
import { useVirtualizer } from '@tanstack/react-virtual'
import { useRef, useState } from 'react'
import type { ApprovalItem } from '../../../gateway/admin/api/approvals.ts'
import type { ChangeItem, ChangeKind } from '../../../gateway/admin/api/changes.ts'
import { Diff } from '../design/diff.tsx'
import { control } from '../design/field.tsx'
import { Empty } from '../design/state.tsx'
import { Status, type Tone } from '../design/status.tsx'
import { type TextKey, useText } from '../text/text.tsx'
import { tones } from './apply-report.tsx'
import styles from './change-set.module.css'

const ROW_PX = 44

const kinds: Readonly<Record<ChangeKind, { readonly tone: Tone; readonly text: TextKey }>> = {
  create: { tone: 'ok', text: 'changes.create' },
  change: { tone: 'info', text: 'changes.change' },
  delete: { tone: 'bad', text: 'changes.delete' },
  same: { tone: 'neutral', text: 'changes.same' },
  invalid: { tone: 'warn', text: 'changes.invalid' },
}

const kindNames = Object.keys(kinds) as ChangeKind[]

export const mayBeApplied = ({ kind }: ChangeItem): boolean => kind !== 'same' && kind !== 'invalid'

interface ItemsProps {
  readonly items: readonly ApprovalItem[]
  /** Without it none can be left out. */
  readonly left?: ReadonlySet<string>
  readonly onToggle?: (name: string) => void
}

export function ChangeItems(props: ItemsProps) {
  const { items } = props
  const { t, number } = useText()
  const countOf = (kind: ChangeKind): number => items.filter((item) => item.kind === kind).length
  const shown = kindNames.filter((one) => one !== 'same' || props.left !== undefined)
  const [kind, setKind] = useState(shown.find((one) => countOf(one) > 0) ?? 'change')
  return (
    <>
      <div className={styles.kinds} role="tablist" aria-label={t('changes.kinds')}>
        {shown.map((one) => (
          <button
            key={one}
            type="button"
            role="tab"
            aria-selected={one === kind}
            className={styles.kind}
            onClick={() => setKind(one)}
          >
            {t(kinds[one].text)}
            <Status tone={countOf(one) > 0 ? kinds[one].tone : 'neutral'}>
              {number(countOf(one))}
            </Status>
          </button>
        ))}
      </div>
      <Items {...props} items={items.filter((item) => item.kind === kind)} />
    </>
  )
}

function Items(props: ItemsProps) {
  const { items, left, onToggle } = props
  const { t } = useText()
  const scroller = useRef<HTMLDivElement>(null)
  const [filter, setFilter] = useState('')
  const [open, setOpen] = useState<string>()
  const shown = items.filter(({ name }) => name.toLowerCase().includes(filter.toLowerCase()))
  const rows = useVirtualizer({
    count: shown.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PX,
    overscan: 8,
  })
  if (items.length === 0) return <Empty title={t('changes.none')} />
  const opened = shown.find((item) => keyOf(item) === open) ?? shown[0]
  return (
    <div className={styles.items}>
      <input
        className={control}
        type="search"
        aria-label={t('changes.filter')}
        placeholder={t('changes.filter')}
        value={filter}
        onChange={({ target }) => setFilter(target.value)}
      />
      <div className={styles.split}>
        <div
          ref={scroller}
          className={styles.list}
          tabIndex={0}
          role="group"
          aria-label={t('changes.items')}
        >
          <div style={{ height: rows.getTotalSize() }} className={styles.space}>
            {rows.getVirtualItems().map(({ index, start }) => {
              const item = shown[index]
              if (item === undefined) return null
              return (
                <div
                  key={`${keyOf(item)} ${index}`}
                  className={styles.item}
                  data-open={item === opened}
                  style={{ transform: `translateY(${start}px)` }}
                >
                  {left !== undefined && mayBeApplied(item) && (
                    <input
                      type="checkbox"
                      aria-label={t('changes.include', { name: item.name })}
                      checked={!left.has(item.name)}
                      onChange={() => onToggle?.(item.name)}
                    />
                  )}
                  <button
                    type="button"
                    className={styles.name}
                    aria-expanded={item === opened}
                    onClick={() => setOpen(keyOf(item))}
                  >
                    {item.line !== undefined && (
                      <span className={styles.line}>{t('changes.line', { line: item.line })}</span>
                    )}
                    {item.name === '' ? t('changes.noName') : item.name}
                    {item.errors?.[0] !== undefined && (
                      <span className={styles.error}>
                        {item.errors[0].field === '' ? '' : `${item.errors[0].field}: `}
                        {item.errors[0].message}
                      </span>
                    )}
                  </button>
                  {item.status !== undefined && (
                    <Status tone={tones[item.status]}>{t(`changes.is.${item.status}`)}</Status>
                  )}
                </div>
              )
            })}
          </div>
        </div>
        <div className={styles.detail}>
          {opened === undefined ? (
            <p className={styles.hint}>{t('changes.choose')}</p>
          ) : (
            <>
              <h3>{opened.name}</h3>
              {opened.why !== undefined && <p className={styles.error}>{opened.why}</p>}
              {opened.errors?.map(({ field, message }) => (
                <p key={`${field} ${message}`} className={styles.error}>
                  {field === '' ? '' : `${field}: `}
                  {message}
                </p>
              ))}
              {(opened.before ?? opened.after) !== undefined && (
                <Diff before={opened.before ?? ''} after={opened.after ?? ''} />
              )}
            </>
          )}
        </div>
      </div>
    </div>
  )
}

function keyOf({ name, line }: ChangeItem): string {
  return `${line ?? ''} ${name}`
}
