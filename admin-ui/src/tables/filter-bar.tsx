/** The line above the list: filter by tokens and free text, with suggestions (admin-ui.md 3.2). */
import { type KeyboardEvent, useEffect, useId, useRef, useState } from 'react'
import { useClusters, useGroups } from '../api/queries.ts'
import { IconButton } from '../design/button.tsx'
import { control } from '../design/field.tsx'
import { Icon } from '../design/icon.tsx'
import { useText } from '../text/text.tsx'
import {
  formatFilters,
  parseFilters,
  type Suggestion,
  suggestionsFor,
  type TableFilters,
  withSuggestion,
} from './filter-tokens.ts'
import { stateWords } from './table-state.tsx'
import styles from './filter-bar.module.css'

const SUGGESTIONS_MAX = 8
/** A key is followed at once; while somebody types, the list is asked for at most this often. */
const PACE_MS = 50

export function FilterBar(props: {
  readonly filters: TableFilters
  readonly onChange: (filters: TableFilters) => void
}) {
  const { filters, onChange } = props
  const { t } = useText()
  const id = useId()
  const [text, setText] = useState(() => formatFilters(filters))
  const [isOpen, setOpen] = useState(false)
  const [chosen, setChosen] = useState(-1)
  const applied = formatFilters(filters)
  const followedAtMs = useRef(Number.NEGATIVE_INFINITY)
  // A link or the back button changed the filter under the line.
  useEffect(() => {
    setText((now) => (formatFilters(parseFilters(now)) === applied ? now : applied))
  }, [applied])
  useEffect(() => {
    const next = parseFilters(text)
    if (formatFilters(next) === applied) return
    const apply = (): void => {
      followedAtMs.current = performance.now()
      onChange(next)
    }
    const timer = setTimeout(apply, followedAtMs.current + PACE_MS - performance.now())
    return () => clearTimeout(timer)
  }, [text, applied, onChange])
  const clusters = useClusters().data?.clusters ?? []
  const groups = useGroups().data?.groups ?? []
  const values = {
    cluster: clusters.map(({ name }) => name),
    group: groups.map(({ name }) => name),
    state: Object.keys(stateWords),
    changed: ['1h', '24h', '7d', '30d'],
  }
  const suggestions = isOpen ? suggestionsFor(text, values, SUGGESTIONS_MAX) : []
  const take = (suggestion: Suggestion): void => {
    setText(withSuggestion(text, suggestion))
    setChosen(-1)
  }
  const onKey = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    if (step !== undefined && suggestions.length > 0) {
      event.preventDefault()
      setOpen(true)
      setChosen((chosen + step + suggestions.length) % suggestions.length)
      return
    }
    const suggestion = suggestions[chosen]
    if (event.key === 'Enter' && suggestion !== undefined) {
      event.preventDefault()
      take(suggestion)
    } else if (event.key === 'Escape') setOpen(false)
  }
  return (
    <div className={styles.bar} role="search">
      <Icon name="search" />
      <input
        className={`${control} ${styles.input}`}
        type="text"
        role="combobox"
        aria-label={t('tables.filter')}
        aria-expanded={suggestions.length > 0}
        aria-controls={`${id}-list`}
        aria-autocomplete="list"
        aria-activedescendant={chosen >= 0 ? `${id}-${chosen}` : undefined}
        placeholder={t('tables.filterHint')}
        spellCheck={false}
        autoComplete="off"
        value={text}
        onFocus={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onChange={({ target }) => {
          setText(target.value)
          setOpen(true)
          setChosen(-1)
        }}
        onKeyDown={onKey}
      />
      {text !== '' && (
        <IconButton icon="close" label={t('action.clearFilters')} onClick={() => setText('')} />
      )}
      <ul
        id={`${id}-list`}
        role="listbox"
        aria-label={t('tables.suggestions')}
        className={styles.list}
        hidden={suggestions.length === 0}
      >
        {suggestions.map((suggestion, index) => (
          <li
            key={suggestion.text}
            id={`${id}-${index}`}
            role="option"
            aria-selected={index === chosen}
            className={styles.option}
            // Before the input loses the focus and the list goes away.
            onMouseDown={(event) => {
              event.preventDefault()
              take(suggestion)
            }}
          >
            <code>{suggestion.text}</code>
          </li>
        ))}
      </ul>
    </div>
  )
}
