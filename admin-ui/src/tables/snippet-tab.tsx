/** What the configuration of a client of a table looks like, language by language. */
import { useTableSnippet } from '../api/queries.ts'
import { Card } from '../design/card.tsx'
import { CopyButton } from '../design/copy-button.tsx'
import { Muted } from '../design/facts.tsx'
import { Loaded } from '../design/state.tsx'
import { useText } from '../text/text.tsx'
import styles from './table-page.module.css'

export function SnippetTab({ name }: { readonly name: string }) {
  const { t } = useText()
  const snippet = useTableSnippet(name)
  return (
    <Loaded query={snippet}>
      {({ endpoint, snippets }) => (
        <div className={styles.snippets}>
          <Muted>{t('snippet.words', { endpoint })}</Muted>
          {snippets.map(({ language, file, text }) => (
            <Card key={language} title={`${language} · ${file}`} aside={<CopyButton text={text} />}>
              <pre tabIndex={0} className={styles.code}>
                {text}
              </pre>
            </Card>
          ))}
        </div>
      )}
    </Loaded>
  )
}
