/**
 * All words of the page, in the reader's language (admin-ui.md 4): English is complete by type,
 * Chinese by the same type. A text is looked up by its key; `{name}` takes a value. A text with a
 * count has the forms `one` and `other`, chosen by the language's own rule, so that no sentence is
 * put together from pieces.
 */
import { createContext, type ReactNode, useContext, useMemo, useState } from 'react'
import { readStored, store } from '../design/stored.ts'
import { en, type Texts } from './en.ts'
import { rateText } from './rate.ts'
import { zh } from './zh.ts'

export type TextKey = keyof typeof en
export type Values = Readonly<Record<string, string | number>>
export type Language = 'en' | 'zh'

export const languages = { en: 'English', zh: '中文' } as const satisfies Record<Language, string>
const texts: Readonly<Record<Language, Texts>> = { en, zh }
const KEY = 'language'

export interface Text {
  readonly language: Language
  readonly setLanguage: (language: Language) => void
  /** `count` chooses between the forms of a counted text and is shown as `{count}`. */
  readonly t: (key: TextKey, values?: Values) => string
  readonly number: (value: number) => string
  /** See `rateText`. */
  readonly rate: (perSecond: number) => string
  /** A length of time in its largest unit, such as `4 min`. */
  readonly duration: (ms: number) => string
}

const spans = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1000],
] as const

function firstLanguage(): Language {
  const stored = readStored(KEY, ['en', 'zh'])
  return stored ?? (navigator.language.startsWith('zh') ? 'zh' : 'en')
}

export function textOf(language: Language): Pick<Text, 't' | 'number' | 'rate' | 'duration'> {
  const plural = new Intl.PluralRules(language)
  const format = new Intl.NumberFormat(language)
  const shown = (value: string | number): string =>
    typeof value === 'number' ? format.format(value) : value
  return {
    number: (value) => format.format(value),
    rate: (perSecond) => rateText(perSecond, shown),
    duration: (ms) => {
      const [unit, size] = spans.find(([, length]) => ms >= length) ?? spans[3]
      const style = { style: 'unit', unit, unitDisplay: 'short' } as const
      return new Intl.NumberFormat(language, style).format(Math.floor(ms / size))
    },
    t: (key, values = {}) => {
      const text = texts[language][key]
      const chosen =
        typeof text === 'string'
          ? text
          : text[plural.select(Number(values['count'] ?? 0)) === 'one' ? 'one' : 'other']
      return chosen.replaceAll(/\{(\w+)\}/g, (whole, name: string) => {
        const value = values[name]
        return value === undefined ? whole : shown(value)
      })
    },
  }
}

const Context = createContext<Text | undefined>(undefined)

export function TextProvider({ children }: { readonly children: ReactNode }) {
  const [language, setLanguage] = useState(firstLanguage)
  const value = useMemo<Text>(() => {
    document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en'
    return {
      ...textOf(language),
      language,
      setLanguage: (next) => {
        store(KEY, next)
        setLanguage(next)
      },
    }
  }, [language])
  return <Context.Provider value={value}>{children}</Context.Provider>
}

export function useText(): Text {
  const text = useContext(Context)
  if (text === undefined) throw new Error('useText outside of TextProvider')
  return text
}
